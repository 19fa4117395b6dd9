/** What a page has open, such as an image, is in its address: Back closes it, and the address opens it. */

/** One thing that may be open on a page. */
export class Place {
  /**
   * @param {string} name of the parameter in the address
   * @param {{open: (value: string) => void, close: () => void}} acts called where the address says so: by Back and
   *   Forward, and by `arrive`
   */
  constructor(name, acts) {
    this.name = name;
    this.acts = acts;
    /** What is to be open. @type {string | null} */
    this.wanted = null;
    /** Until the history has gone back, which takes it a while. */
    this.left = Promise.resolve();
    addEventListener("popstate", () => this.#follow());
  }

  /** What the address says is open. */
  get value() {
    return new URLSearchParams(location.search).get(this.name);
  }

  /** Open what the address says, at the beginning. */
  arrive() {
    this.#follow();
  }

  /** It was opened, or another one in its place. @param {string} value */
  async enter(value) {
    this.wanted = value;
    await this.left;
    if (this.wanted !== value || this.value === value) return;
    const address = this.addressOf(value);
    if (this.value === null) history.pushState({ ...history.state, [this.name]: true }, "", address);
    else history.replaceState(history.state, "", address);
  }

  /** It was closed. */
  leave() {
    this.wanted = null;
    if (this.value === null) return;
    if (history.state?.[this.name]) {
      this.left = new Promise((done) => addEventListener("popstate", () => done(undefined), { once: true }));
      history.back();
    } else {
      history.replaceState(history.state, "", this.addressOf(null));
    }
  }

  /** @param {string | null} value */
  addressOf(value) {
    const query = new URLSearchParams(location.search);
    if (value === null) query.delete(this.name);
    else query.set(this.name, value);
    return `${location.pathname}${query.size ? `?${query}` : ""}`;
  }

  #follow() {
    const { value } = this;
    if (value === this.wanted) return;
    this.wanted = value;
    if (value === null) this.acts.close();
    else this.acts.open(value);
  }
}
