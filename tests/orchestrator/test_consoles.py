"""What is printed where there is little room, or nobody who reads it."""

import io
import os

from rich.console import Console
from rich.table import Table

from orchestrator.consoles import console_for, print_whole


def table() -> Table:
    """One row of three columns that need 31 columns of a terminal."""
    made = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        made.add_column(no_wrap=True)
    made.add_row("dmc_walker_walk", "1,100,000", "548")
    return made


def test_a_table_wider_than_the_terminal_loses_nothing() -> None:
    """A number that is cut off is another number."""
    narrow = Console(file=io.StringIO(), width=20)
    narrow.print(table())
    cut = narrow.file.getvalue()  # type: ignore[attr-defined]
    whole = io.StringIO()
    print_whole(Console(file=whole, width=20), table())

    assert "1,100,000" not in cut
    assert whole.getvalue() == "dmc_walker_walk  1,100,000  548\n"


def test_a_table_that_fits_is_printed_as_it_is() -> None:
    """In the console that it was given."""
    console = Console(record=True, file=io.StringIO(), width=80)
    print_whole(console, table())

    assert console.export_text() == "dmc_walker_walk  1,100,000  548\n"


def test_what_a_command_does_goes_on_when_its_reader_has_gone() -> None:
    """`dreamsweep run … | head -1` runs the sweep to its end."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as stream:
        console = console_for(stream)
        console.print("one")
        console.print("two")

    assert console.quiet


def test_what_a_command_does_goes_on_when_its_terminal_has_closed() -> None:
    """Of a terminal, another error tells that."""
    terminal, own = os.openpty()
    os.close(terminal)
    with open(own, "w", encoding="utf-8") as stream:
        console = console_for(stream)
        console.print("one")
        console.print("two")

    assert console.quiet
