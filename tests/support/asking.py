"""Ask an HTTP server, from wherever this program is run: `asking.py URL [JSON]`, a GET or a POST; prints the answer."""

import sys
import urllib.request

if __name__ == "__main__":
    _url, *_said = sys.argv[1:]
    _body = _said[0].encode() if _said else None
    _request = urllib.request.Request(_url, data=_body, headers={"Content-Type": "application/json"})
    print(urllib.request.urlopen(_request, timeout=30).read().decode())
