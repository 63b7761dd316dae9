"""The client of a cluster: TLS, who asks (by the environment or a netrc), and what its errors mean."""

from __future__ import annotations

import logging
import netrc
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DependencyError, InputError, StoreError
from ..stores import Connection, StoreUrl

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

USERNAME, PASSWORD = "OPENSEARCH_USERNAME", "OPENSEARCH_PASSWORD"
AWS_SERVICES = ("es", "aoss")

_log = logging.getLogger(__name__)


def connect(url: StoreUrl, connection: Connection, environment: Mapping[str, str] = os.environ) -> OpenSearch:
    """A client for the cluster of a URL. Nothing is sent yet.

    Who asks is, with `connection.aws`, what boto3 finds (environment, profile, role), else OPENSEARCH_USERNAME and
    OPENSEARCH_PASSWORD, else the host's entry in the file that NETRC names or ~/.netrc, else nobody.

    Raises:
        DependencyError: opensearch-py, or boto3 to sign requests, is not installed.
        InputError: certificates without TLS, or a file that is missing; credentials that are half there.
    """
    require_opensearch()
    from opensearchpy import OpenSearch

    logging.getLogger("opensearch").addHandler(logging.NullHandler())  # it logs what is retried as if it had failed
    connection.check(url)
    if connection.insecure:
        _log.warning("%s: the certificate is NOT checked; anyone in between can read and change everything", url)
        _silence_urllib3(url.host)
    return OpenSearch(
        hosts=[{"host": url.host, "port": url.port}],
        use_ssl=url.tls,
        ssl_context=connection.tls() if url.tls else None,
        http_auth=_signer(url, connection.aws) if connection.aws else _login(url, environment),
        timeout=connection.timeout,
        max_retries=0,  # retried where it is known what may be sent twice
    )


def _silence_urllib3(host: str) -> None:
    """Leave out its own warning of unchecked certificates, for a host of which it was said already."""
    from urllib3.exceptions import InsecureRequestWarning

    message = rf"Unverified HTTPS request is being made to host '{re.escape(host)}'"
    warnings.filterwarnings("ignore", message, InsecureRequestWarning)


def require_opensearch() -> None:
    """Raises DependencyError where opensearch-py is missing."""
    try:
        import opensearchpy  # noqa: F401
    except ImportError as error:
        raise DependencyError("OpenSearch needs opensearch-py: pip install 'spladert[opensearch]'") from error


def _login(url: StoreUrl, environment: Mapping[str, str]) -> tuple[str, str] | None:
    username, password = environment.get(USERNAME), environment.get(PASSWORD)
    if (username is None) != (password is None):
        raise InputError(f"{USERNAME} and {PASSWORD} belong together; set both or none")
    if username is not None and password is not None:
        return username, password
    path = Path(environment.get("NETRC", "~/.netrc")).expanduser()
    if not path.is_file():
        return None
    try:
        entry = netrc.netrc(str(path)).authenticators(url.host)
    except netrc.NetrcParseError as error:
        raise InputError(f"{path} cannot be read, line {error.lineno}") from None  # its message may hold the password
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return None if entry is None else (entry[0], entry[2] or "")


def _signer(url: StoreUrl, service: str) -> Any:
    if service not in AWS_SERVICES:
        raise InputError(f"--aws is {service!r}; choose es for managed domains, aoss for serverless ones")
    try:
        import boto3
    except ImportError as error:
        raise DependencyError("signed requests need boto3: pip install 'spladert[opensearch-aws]'") from error
    from opensearchpy import Urllib3AWSV4SignerAuth

    session = boto3.Session()
    credentials, region = session.get_credentials(), session.region_name
    if credentials is None:
        raise InputError("boto3 finds no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")
    if region is None:
        raise InputError("no AWS region is set; set AWS_REGION or AWS_DEFAULT_REGION")
    return Urllib3AWSV4SignerAuth(credentials, region, service)


@contextmanager
def explained(url: StoreUrl) -> Iterator[None]:
    """Turns what the client raises in the block into a `StoreError` that says what to do."""
    from opensearchpy.exceptions import ImproperlyConfigured, OpenSearchException

    try:
        yield
    except (OpenSearchException, ImproperlyConfigured) as error:
        raise StoreError(explain(url, error)) from None


def explain(url: StoreUrl, error: Exception) -> str:
    """What an error of the client means, for the one who gave the URL."""
    from opensearchpy import exceptions

    status = getattr(error, "status_code", None)
    address = f"{url.host}:{url.port}"
    if isinstance(error, exceptions.SSLError):
        return f"{address}: TLS fails ({_cause(error)}): name the CA with --ca, or look at the host's name"
    if isinstance(error, exceptions.ConnectionTimeout):
        return f"{address} does not answer in time; look at the cluster's load, or give it longer with --timeout"
    if isinstance(error, exceptions.ConnectionError):
        tls = "" if url.tls else f" (if it speaks TLS, write {url.scheme}+https://)"
        return f"{address} cannot be reached: {_cause(error)}{tls}"
    if status == 401:
        return f"{address} asks for a login: set {USERNAME} and {PASSWORD}, a netrc, or --aws"
    if status == 403 and "cluster_block" not in str(error):
        return f"{address} does not allow this to the user it was asked by: {_cause(error)}"
    return f"{address} refuses: {_cause(error)}"


def _cause(error: Exception) -> str:
    info = getattr(error, "info", None) if len(error.args) > 2 else None
    if isinstance(info, Mapping) and isinstance(info.get("error"), Mapping):
        reason = info["error"].get("reason")
        return str(reason)[:500]
    text = str(info if isinstance(info, Exception) else error)
    return text.rpartition("object at ")[2].partition(">: ")[2][:300] or text[:300]


def is_read_only(reason: str) -> bool:
    """Whether a refusal is that of an index which takes no writes at all."""
    return "cluster_block_exception" in reason or "index_closed_exception" in reason


def has_analyzer(client: Any, name: str) -> bool:
    """Whether the cluster has a text analyzer."""
    from opensearchpy.exceptions import TransportError

    try:
        client.indices.analyze(body={"analyzer": name, "text": "가"})
    except TransportError as error:
        if error.status_code == 400:
            return False
        raise
    return True
