"""Asking a `spladert serve` what it serves, before a cluster is told to use it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from ..bundle import Bundle
from ..errors import InputError, StoreError
from ..origin import Origin, origin_of

SECONDS = 10.0


def check_server(url: str, bundle: Bundle, batch_size: int, api_key: str | None = None) -> None:
    """Check that a server answers, and that its vectors are a bundle's.

    Args:
        url: of the server, as this machine reaches it.
        bundle: whose vectors are wanted.
        batch_size: texts that a call to it will hold.
        api_key: of the server.

    Raises:
        StoreError: the server does not answer, or is none of this version.
        InputError: it serves another model, wants another key, or takes fewer texts a call.
    """
    info = _info(url, api_key)
    wanted = origin_of(bundle)
    missing = [name for name in Origin.deciding if name not in info]
    if missing:
        raise StoreError(
            f"{url} does not say which model it serves ({', '.join(missing)} in its /info): it is no spladert serve, "
            "or an older one; name another server, or upgrade it"
        )
    if different := [name for key, name in Origin.deciding.items() if info[key] != getattr(wanted, key)]:
        raise InputError(
            f"{url} serves a model with a different {' and '.join(different)} ({info.get('model_id')!r}; the bundle is "
            f"{wanted.source!r}): name the bundle that it serves, or serve this one"
        )
    most = info.get("max_client_batch_size", batch_size)
    if batch_size > most:
        raise InputError(
            f"{url} takes at most {most} texts a call, and the batch size is {batch_size}: give --batch-size {most}, "
            "or serve with a larger --max-client-batch-size"
        )


def _info(url: str, api_key: str | None) -> dict[str, Any]:
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    request = urllib.request.Request(f"{url.rstrip('/')}/info", headers=headers)
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            content = json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 401:
            raise InputError(f"{url} wants another API key: give it by --api-key or SPLADERT_API_KEY") from None
        raise StoreError(f"{url}/info answers {error.code}: is this a spladert serve, and is it well?") from None
    except OSError as error:  # time-outs and refused connections, as urllib.error.URLError
        raise StoreError(
            f"the server {url} cannot be reached from here: {getattr(error, 'reason', error)}; start it first, or say "
            "by --server-here where this machine reaches it, if that is elsewhere than where the cluster does"
        ) from None
    except Exception as error:  # http.client and json have many for what is not HTTP or not JSON
        raise StoreError(f"{url}/info answers what is no JSON ({error}): is this a spladert serve?") from None
    if not isinstance(content, dict):
        raise StoreError(f"{url}/info answers a {type(content).__name__}: is this a spladert serve?")
    return content


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A cluster follows none either, and the key is not for another host."""

    def redirect_request(self, *args: Any, **options: Any) -> None:
        return None
