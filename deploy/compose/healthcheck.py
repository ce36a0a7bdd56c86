"""Health checks for containers, cheap enough to run every few seconds.

    healthcheck.py grpc HOST:PORT    a Dagster code server (a tenth of what Dagster's own command costs)
    healthcheck.py http URL          anything that answers 200

Exits with 0 when healthy; otherwise with 1 and one line that says why.
"""

import sys


def grpc(address: str) -> None:
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    with grpc.insecure_channel(address) as channel:
        try:
            reply = HealthStub(channel).Check(HealthCheckRequest(service="DagsterApi"), timeout=3)
        except grpc.RpcError as error:
            sys.exit(f"{address}: {error.code().name}: {error.details()}")
    if reply.status != HealthCheckResponse.SERVING:
        sys.exit(f"{address}: {HealthCheckResponse.ServingStatus.Name(reply.status)}")


def http(url: str) -> None:
    from urllib.request import urlopen

    try:
        urlopen(url, timeout=3).close()  # an answer of 400 and above raises
    except OSError as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["grpc", address]:
            grpc(address)
        case ["http", url]:
            http(url)
        case _:
            sys.exit(__doc__)
