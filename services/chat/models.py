"""The models that providers run, by the names that callers use."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.chassis.errors import CallError, InvalidRequest, Reason
from services.chat.answering.target import Target
from services.chat.errors import PaidDisabled, error_of
from services.chat.providers.disabled import DisabledProvider
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.provider import Provider
from services.config import (
    OLLAMA_CLOUD,
    Capability,
    ChatModel,
    Configuration,
    OllamaProvider,
    RemoteEmbedModel,
    split_target,
)

S = TypeVar("S", ChatModel, RemoteEmbedModel)

MOST_NAMES: Final = 20
ASK_SECONDS: Final = 1.5
"""How long a provider may take to say whether it has a model that the file does not name."""

MOST_CHARACTERS: Final = 255
"""Longest name of a model at its provider, as for targets of the configuration."""

MakeTarget = Callable[[Provider, str], Target]


@dataclass(frozen=True, slots=True)
class Served(Generic[S]):
    """One model as this service answers for it.

    Attributes:
        name: Public name.
        section: What the configuration says of it.
        targets: Who answers, in order.
        discovered: A provider has it; the configuration does not name it.
    """

    name: str
    section: S
    targets: tuple[Target, ...]
    discovered: bool = False

    @property
    def fingerprint(self) -> str:
        """Hash over what is known here to decide embeddings, lowercase hex; empty for chat models.

        What a provider does with its weights is not known. How long it may take decides nothing.
        """
        if not isinstance(self.section, RemoteEmbedModel):
            return ""
        told = self.section.model_dump_json(exclude={"timeout_seconds"})
        return hashlib.sha256(told.encode()).hexdigest()


class UnknownModel(CallError):
    """There is no model of that name here."""

    reason = Reason.MODEL_NOT_FOUND

    def __init__(self, known: Iterable[str], advice: str = "") -> None:
        names = list(known)
        told = ", ".join(names[:MOST_NAMES]) or "none"
        super().__init__(
            f"there is no such model; {advice or f'models here: {told}'}",
            metadata={"models": ",".join(names[:MOST_NAMES])},
        )


class OtherCapability(CallError):
    """A model of that name does something else."""

    reason = Reason.WRONG_CAPABILITY

    def __init__(self, name: str, capability: Capability, wanted: Capability) -> None:
        super().__init__(
            f"{name} is for {capability}, not for {wanted}",
            metadata={"model": name, "capability": capability},
        )


class Models:
    """The models of the configuration that providers run, and those that local providers have besides.

    Args:
        configuration: The configuration.
        providers: Its providers by name.
        make_target: Makes the target for a provider and a model there. Models share targets: what one call
            finds out about a target, all profit from.

    Attributes:
        chat, embed: The models of the configuration by name.
        in_order: All of them in the order of the file.
    """

    def __init__(
        self, configuration: Configuration, providers: Mapping[str, Provider], make_target: MakeTarget
    ) -> None:
        self._configuration = configuration
        self._providers = providers
        self._make_target = make_target
        self._targets: dict[str, Target] = {}
        self._known: dict[tuple[str, str], Target] = {}
        self.chat: dict[str, Served[ChatModel]] = {}
        self.embed: dict[str, Served[RemoteEmbedModel]] = {}
        self.in_order: list[Served[ChatModel] | Served[RemoteEmbedModel]] = []
        for name, section in configuration.models.items():
            if isinstance(section, ChatModel):
                self.chat[name] = Served(name, section, self._all_targets(section.targets))
                self.in_order.append(self.chat[name])
            elif isinstance(section, RemoteEmbedModel):
                self.embed[name] = Served(name, section, self._all_targets(section.targets))
                self.in_order.append(self.embed[name])

    @property
    def targets(self) -> Iterable[Target]:
        """The targets of the configuration."""
        return list(self._targets.values())

    @property
    def known(self) -> Mapping[tuple[str, str], Target]:
        """All targets, by provider and what all ways to write the name of the model have in common."""
        return self._known

    async def chat_model(self, name: str) -> Served[ChatModel]:
        """Return the chat model of that name; without a name, the only one.

        A name `<provider>/<model>` means a model that the configuration does not name, at a provider whose
        models may be discovered.

        Raises:
            InvalidRequest: There is no name, and not exactly one chat model.
            UnknownModel: There is no such model.
            OtherCapability: It does something else.
            PaidDisabled: Its provider costs money, and nothing may.
            CallError: A provider had to be asked whether it has the model, and did not answer.
        """
        found = self._named(name, self.chat, "chat")
        return found if found is not None else await self._discovered(name)

    def embed_model(self, name: str) -> Served[RemoteEmbedModel]:
        """Return the embedding model of that name; without a name, the only one. Errors as for chat."""
        found = self._named(name, self.embed, "embed")
        if found is None:
            raise UnknownModel(self.embed)
        return found

    def discoverable(self) -> Iterable[Provider]:
        """Return the providers whose models callers may name."""
        for provider in self._providers.values():
            section = provider.section
            if isinstance(section, OllamaProvider) and section.discover:
                yield provider

    def discovered(self, provider: Provider, upstream_model: str) -> Served[ChatModel]:
        """Return a model that a provider is known to have.

        However its name is written, its target is the same one, that of the configuration if it has one. So
        there is an end to the number of targets.
        """
        name = f"{provider.name}/{upstream_model}"
        key = (provider.name, provider.canonical(upstream_model))
        if key not in self._known:
            self._known[key] = self._make_target(provider, upstream_model)
        section = ChatModel(capability="chat", targets=(name,))
        return Served(name, section, (self._known[key],), discovered=True)

    def _named(self, name: str, served: Mapping[str, Served[S]], wanted: Capability) -> Served[S] | None:
        if not name:
            if len(served) != 1:
                problem = f"must be set: {len(served)} models for {wanted} are configured"
                raise InvalidRequest([("model", problem)])
            return next(iter(served.values()))
        if name in served:
            return served[name]
        section = self._configuration.models.get(name)
        if section is not None and section.capability != wanted:
            raise OtherCapability(name, section.capability, wanted)
        return None

    async def _discovered(self, name: str) -> Served[ChatModel]:
        provider_name, upstream_model = split_target(name)
        provider = next((one for one in self.discoverable() if one.name == provider_name), None)
        if provider is None or not is_model_name(upstream_model):
            raise UnknownModel(self.chat)
        if isinstance(provider, DisabledProvider) or self._is_forbidden(upstream_model):
            raise PaidDisabled(provider.name)  # it cannot be asked whether it has the model
        try:
            async with asyncio.timeout(ASK_SECONDS):
                facts = await provider.facts(upstream_model)
        except TimeoutError as error:
            message = f"the provider did not say within {ASK_SECONDS:g} s whether it has the model"
            raise error_of(provider.name, Failure(FailureKind.TIMEOUT, message)) from error
        except Failure as failure:
            if failure.kind is FailureKind.MODEL_MISSING:
                raise UnknownModel(self.chat, str(failure)) from failure
            raise error_of(provider.name, failure) from failure
        if facts.chat is False:
            raise OtherCapability(name, "embed", "chat")
        return self.discovered(provider, upstream_model)

    def _is_forbidden(self, upstream_model: str) -> bool:
        """Return whether nothing may be asked about a model: an Ollama passes that on to its cloud."""
        cloud = OLLAMA_CLOUD.fullmatch(upstream_model.lower()) is not None
        return cloud and not self._configuration.paid.enabled

    def _all_targets(self, names: Iterable[str]) -> tuple[Target, ...]:
        return tuple(self._target(name) for name in names)

    def _target(self, name: str) -> Target:
        if name not in self._targets:
            provider_name, upstream_model = split_target(name)
            provider = self._providers[provider_name]
            target = self._targets[name] = self._make_target(provider, upstream_model)
            self._known.setdefault((provider_name, provider.canonical(upstream_model)), target)
        return self._targets[name]


def is_model_name(upstream_model: str) -> bool:
    """Return whether that could be the name of a model at a provider, as the configuration takes it."""
    strange = upstream_model.startswith("/") or any(map(str.isspace, upstream_model))
    return 0 < len(upstream_model) <= MOST_CHARACTERS and not strange
