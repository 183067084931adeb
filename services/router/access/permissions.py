"""Which permission a method needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.chassis.pipeline.layer import UNKNOWN_METHOD
from services.config import Permission
from services.router.capabilities import MODEL_SERVICE, ROUTER_SERVICE, SERVICES, is_safe

BY_SERVICE: Final[Mapping[str, Permission]] = {
    service.full_name: capability for capability, service in SERVICES.items()
}
OPERATED: Final = frozenset({MODEL_SERVICE.full_name, ROUTER_SERVICE.full_name})
"""Services whose methods, unless they have no side effects, change the cluster for everybody."""


def permission_of(method: str) -> Permission | None:
    """Return what a key must be allowed for `/package.Service/Method`; None if any key will do."""
    if method == UNKNOWN_METHOD:
        return None
    service, _, _ = method.removeprefix("/").partition("/")
    if service in OPERATED:
        return None if is_safe(method) else "operate"
    return BY_SERVICE.get(service)
