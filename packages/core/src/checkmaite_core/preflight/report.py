"""What preflight found, all of it: for people as a table, for programs as values."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, computed_field

from checkmaite_core.errors import PreflightError
from checkmaite_core.preflight.checks import Check
from checkmaite_core.preflight.table import check_lines, summary, table_of

__all__ = ["NodeKind", "PreflightReport"]


class NodeKind(BaseModel):
    """Nodes that are alike in what they have and in what is installed there.

    Attributes:
        names: Names of the nodes; the first is the one on which everything was looked at.
        resources: What each has, in words.
        is_head: Whether the cluster's head is among them.
        runs_jobs: Whether one of the jobs can run there.
    """

    model_config = ConfigDict(frozen=True)

    names: tuple[str, ...]
    resources: str
    is_head: bool = False
    runs_jobs: bool = True


class PreflightReport(BaseModel):
    """What preflight found. ``model_dump_json()`` is what ``checkmaite preflight --json`` prints.

    Attributes:
        backend: The backend's name.
        address: Where the cluster is.
        store: The analytics store's location.
        nodes: The kinds of nodes.
        checks: One for each thing that was looked at, in the order of the sections.
        seconds: How long it took.
        looked: Whether any node could be asked at all.
    """

    model_config = ConfigDict(frozen=True)

    backend: str
    address: str
    store: str
    nodes: tuple[NodeKind, ...] = ()
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0
    looked: bool = True

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> int:
        """0: the jobs can run, though there may be warnings. 1: an error was found. 2: no node could be asked."""
        if not self.looked:
            return 2
        return 1 if self.errors else 0

    @property
    def errors(self) -> tuple[Check, ...]:
        """What would make jobs fail, or never start."""
        return tuple(check for check in self.checks if check.level == "error")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """What may."""
        return tuple(check for check in self.checks if check.level == "warning")

    def table(self, width: int = 100) -> str:
        """All of it for people, as text.

        Args:
            width: Columns of the terminal; not used beyond 100, where lines get hard to read.
        """
        store = f", results to {self.store}" if self.store else ""
        title = f"Preflight of {self.backend} at {self.address}{store} ({self.seconds:.1f} s)"
        kinds = [(node.names, _about(node)) for node in self.nodes]
        return table_of(title, kinds, self.checks, min(width, 100))

    def require(self) -> None:
        """Go on only if nothing red was found.

        Raises:
            PreflightError: With the red lines; its ``report`` is this one.
        """
        if self.exit_code == 0:
            return
        red = self.errors
        raise PreflightError(
            f"preflight found what would stop the jobs; nothing was submitted. {summary(self.checks)}\n"
            + "\n".join(check_lines(red or self.checks, [node.names for node in self.nodes], 100, by_name=True)),
            hint="Have it mended by whom each line names, and try again; the error's report.table() has all lines.",
            report=self,
        )


def _about(node: NodeKind) -> str:
    head = " (the head)" if node.is_head else ""
    more = f" and {len(node.names) - 1} more like it" if len(node.names) > 1 else ""
    goes = "" if node.runs_jobs else "; none of these jobs can run there"
    return f"{node.names[0]}{head}{more}: {node.resources}{goes}"
