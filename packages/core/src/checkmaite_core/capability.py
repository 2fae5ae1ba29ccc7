"""Capabilities: pieces of test-and-evaluation work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, runtime_checkable

from checkmaite_core.errors import InvalidCapabilityError
from checkmaite_core.inputs import Inputs, input_id, load_inputs
from checkmaite_core.redefining import as_class
from checkmaite_core.resources import Resources
from checkmaite_core.run import CapabilityConfig, CapabilityRun, ConfigT, OutputsT

__all__ = ["Arity", "Capability", "CapabilityLike"]


@runtime_checkable
class CapabilityLike(Protocol):
    """What the backends need of a capability; no base class of ours is needed.

    It may also have ``resources``, its default demand.
    """

    @property
    def id(self) -> str:
        """What it is: part of the identity of its runs."""
        ...

    def run(
        self,
        models: Any = None,
        datasets: Any = None,
        metrics: Any = None,
        config: Any = None,
        use_cache: bool = False,
    ) -> Any:
        """Do the work and return a run (see :class:`checkmaite_core.run.RunLike`)."""
        ...


@dataclass(frozen=True, slots=True)
class Arity:
    """How many inputs of one kind a capability takes.

    Attributes:
        least: The fewest.
        most: The most; None means any number.
    """

    least: int = 0
    most: int | None = 0

    def allows(self, count: int) -> bool:
        """Whether ``count`` inputs are right."""
        return self.least <= count and (self.most is None or count <= self.most)

    def of(self, plural: str) -> str:
        """The number in words, such as ``1 dataset``, ``no models`` or ``at least 2 metrics``."""
        noun = plural.removesuffix("s") if (self.most or self.least) == 1 else plural
        if self.most is None:
            return f"at least {self.least} {noun}" if self.least else f"any number of {plural}"
        if self.most == 0:
            return f"no {plural}"
        return f"{self.most} {noun}" if self.least == self.most else f"{self.least} to {self.most} {noun}"


class Capability(ABC, Generic[ConfigT, OutputsT]):
    """A convenient way to write a capability.

    A subclass names its config and run classes, says how many inputs it takes, and implements
    :meth:`evaluate`:

        class Brightness(Capability[BrightnessConfig, BrightnessOutputs]):
            config_class = BrightnessConfig
            run_class = BrightnessRun
            takes_datasets = Arity(1, 1)

            def evaluate(self, inputs, config):
                ...

    Attributes:
        id: ``module.ClassName`` unless a subclass sets another.
        config_class: The class of its config; its defaults are used where a caller gives none. One without settings
            is enough for many.
        run_class: The class of its runs.
        takes_models: How many models it takes.
        takes_datasets: How many datasets it takes.
        takes_metrics: How many metrics it takes.
        resources: What a run asks for, unless the config or the submission says otherwise.
    """

    id: str
    config_class: ClassVar[type[Any]] = CapabilityConfig
    run_class: ClassVar[type[Any]] = CapabilityRun
    takes_models: ClassVar[Arity] = Arity()
    takes_datasets: ClassVar[Arity] = Arity()
    takes_metrics: ClassVar[Arity] = Arity()
    resources: ClassVar[Resources] = Resources()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "id" not in cls.__dict__:
            cls.id = f"{cls.__module__}.{cls.__qualname__}"

    @abstractmethod
    def evaluate(self, inputs: Inputs, config: ConfigT) -> OutputsT:
        """Do the work.

        Args:
            inputs: The inputs, loaded; their number has been checked.
            config: The config.

        Long loops do well to go through :func:`checkmaite_core.progress` and to look at
        :func:`checkmaite_core.cancelled`.
        """

    def check(self, inputs: Inputs, config: Any = None) -> None:
        """Refuse inputs that do not fit, before anything is started.

        Raises:
            InvalidCapabilityError: The number of inputs or the config's class is wrong, or an input has no id.
        """
        for kind in ("models", "datasets", "metrics"):
            for value in getattr(inputs, kind):
                input_id(value)
            arity: Arity = getattr(self, f"takes_{kind}")
            given = len(getattr(inputs, kind))
            if not arity.allows(given):
                raise InvalidCapabilityError(
                    f"{type(self).__name__} takes {arity.of(kind)}; given: {given}.",
                    hint=f"Pass {kind}=[...] with {arity.of(kind)}." if arity.most != 0 else f"Leave {kind} out.",
                )
        self.as_own_config(config)

    def as_own_config(self, config: Any) -> Any:
        """The config as one of ``config_class``: itself, or its values where the class was defined again meanwhile.

        Raises:
            InvalidCapabilityError: It is of another class, or of a definition whose fields differ.
        """
        if config is None or isinstance(config, self.config_class):
            return config
        return as_class(config, self.config_class, type(self))

    def run(
        self,
        models: Sequence[Any] | None = None,
        datasets: Sequence[Any] | None = None,
        metrics: Sequence[Any] | None = None,
        config: ConfigT | None = None,
        use_cache: bool = False,
    ) -> CapabilityRun[ConfigT, OutputsT]:
        """Do the work here and now, with no backend.

        Args:
            models: Models, or references to them.
            datasets: Datasets, or references to them.
            metrics: Metrics.
            config: The config; its class's defaults if left out.
            use_cache: Part of the protocol. There is no cache here: the analytics store keeps results.

        Raises:
            InvalidCapabilityError: The inputs do not fit, or a cache was asked for.
        """
        if use_cache:
            raise InvalidCapabilityError(
                f"{type(self).__name__} has no cache.",
                hint="Leave use_cache out; read earlier results from the analytics store.",
            )
        given = Inputs.of(models, datasets, metrics)
        self.check(given, config)
        config = self.config_class() if config is None else self.as_own_config(config)
        metadata = {kind: _metadata(getattr(given, kind)) for kind in ("models", "datasets", "metrics")}
        outputs = self.evaluate(load_inputs(given), config)
        run: CapabilityRun[ConfigT, OutputsT] = self.run_class(
            capability_id=self.id,
            config=config,
            dataset_metadata=metadata["datasets"],
            model_metadata=metadata["models"],
            metric_metadata=metadata["metrics"],
            outputs=outputs,
        )
        return run


def _metadata(values: Sequence[Any]) -> list[dict[str, Any]]:
    """MAITE metadata of each input, with its id."""
    result = []
    for value in values:
        metadata = getattr(value, "metadata", None)
        own = dict(metadata) if isinstance(metadata, Mapping) else {}
        result.append({**own, "id": input_id(value)})
    return result
