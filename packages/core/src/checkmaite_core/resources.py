"""What a job asks of the node that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from checkmaite_core.errors import SubmissionError
from checkmaite_core.evolving import Given

__all__ = ["Resources"]

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Resources(Given):
    """Demand of one job.

    Attributes:
        num_cpus: CPUs, fractions allowed; None means "not said", which ends as 1.
        num_gpus: GPUs, fractions allowed.
        memory: Bytes reserved on the node.
        custom: Amounts of the cluster's own resources, by name.
    """

    num_cpus: _Amount | None = None
    num_gpus: _Amount | None = None
    memory: Annotated[int, Field(ge=0)] | None = None
    custom: dict[str, _Amount] = Field(default_factory=dict)

    @classmethod
    def parse(cls, value: Self | Mapping[str, Any] | None, source: str) -> Self:
        """Read a demand that a person wrote.

        Args:
            value: The demand, or None for "nothing said".
            source: Where it stands, for the message.

        Raises:
            SubmissionError: It is not a demand.
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise SubmissionError(
                f"{source}: resources{f'.{where}' if where else ''}: {first['msg']}.",
                hint="Known are num_cpus, num_gpus, memory (bytes) and custom={'name': amount}.",
            ) from error

    def over(self, fallback: Resources) -> Resources:
        """This demand, completed by another one where this one says nothing."""
        return Resources(
            num_cpus=fallback.num_cpus if self.num_cpus is None else self.num_cpus,
            num_gpus=fallback.num_gpus if self.num_gpus is None else self.num_gpus,
            memory=fallback.memory if self.memory is None else self.memory,
            custom={**fallback.custom, **self.custom},
        )
