/** Light or dark, as it was chosen here. No module, so that it runs before anything is drawn. */
{
  const NAME = "theme";

  /** What was chosen; empty: as the system has it. */
  const chosen = () => {
    try {
      return localStorage.getItem(NAME) ?? "";
    } catch {
      return ""; // not allowed: then it is not remembered
    }
  };

  /** @param {string} theme */
  const apply = (theme) => {
    const { dataset } = document.documentElement;
    if (theme === "light" || theme === "dark") dataset.theme = theme;
    else delete dataset.theme;
  };

  const select = () => /** @type {HTMLSelectElement | null} */ (document.getElementById(NAME));

  apply(chosen());
  document.addEventListener("DOMContentLoaded", () => {
    const control = select();
    if (!control) return;
    control.value = chosen();
    control.addEventListener("change", () => {
      apply(control.value);
      try {
        localStorage.setItem(NAME, control.value);
      } catch {
        // It holds for this page.
      }
    });
  });
  // Another tab has changed it.
  addEventListener("storage", ({ key }) => {
    if (key !== NAME) return;
    apply(chosen());
    const control = select();
    if (control) control.value = chosen();
  });
}
