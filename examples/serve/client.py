"""Vectors of many texts from a server, as one binary answer: python client.py http://127.0.0.1:8080 < texts.txt

A server that is full says when to come again; so does one that is about to end.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import safetensors.numpy

TEXTS = 128  # of a request, the server's own limit by default


def encode(url: str, texts: list[str], attempts: int = 10) -> dict[str, np.ndarray]:
    """The arrays indptr, indices and values of the texts' vectors, as compressed sparse rows."""
    body = json.dumps({"inputs": texts, "side": "document", "output": "safetensors"}).encode()
    request = urllib.request.Request(f"{url}/v1/encode", body, {"Content-Type": "application/json"})
    for _ in range(attempts):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return safetensors.numpy.load(answer.read())
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                raise SystemExit(f"the server refuses: {json.load(error)['error']}") from None
            time.sleep(int(error.headers.get("Retry-After", 1)))
        except urllib.error.URLError as error:
            raise SystemExit(f"{url} cannot be reached: {error.reason}") from None
    raise SystemExit(f"the server was full {attempts} times; start more of them")


def main() -> None:
    texts = [line.rstrip("\n") for line in sys.stdin]
    for start in range(0, len(texts), TEXTS):
        part = texts[start : start + TEXTS]
        arrays = encode(sys.argv[1], part)
        ends = arrays["indptr"].tolist()
        for text, begin, end in zip(part, ends, ends[1:], strict=False):
            heaviest = arrays["indices"][begin:end][:3].tolist()
            print(f"{end - begin} entries, heaviest {heaviest}: {text}")


if __name__ == "__main__":
    main()
