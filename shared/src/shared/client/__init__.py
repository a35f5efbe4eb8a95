"""A client of the gateway's HTTP API, in two kinds: `Client`, which blocks, and `AsyncClient`.

It needs the extra `client` of the package. Both kinds have the same methods; what these raise is said in `calls`.
"""

from shared.client.asynchronous import AsyncClient
from shared.client.requests import BatchRequest, ExecuteRequest, ResumeRequest, Workflow
from shared.client.synchronous import Client

__all__ = ["AsyncClient", "BatchRequest", "Client", "ExecuteRequest", "ResumeRequest", "Workflow"]
