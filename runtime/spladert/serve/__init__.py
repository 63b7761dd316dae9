"""An HTTP server over an encoder: dynamic batching, the endpoints of text-embeddings-inference, and a page.

Importing it needs the extra `serve`.
"""

from ..errors import DependencyError

try:
    import fastapi  # noqa: F401
    import orjson  # noqa: F401
    import prometheus_client  # noqa: F401
    import safetensors  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise DependencyError(f"the server needs more packages ({error}): pip install 'spladert[cpu,serve]'") from error

from .app import create_app
from .options import ServerOptions
from .process import serve

__all__ = ["ServerOptions", "create_app", "serve"]
