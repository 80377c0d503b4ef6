"""media_server/websocket/position.py"""

from __future__ import annotations

from media_server.websocket.position import Position

END = 10 * 48_000


def test_time_moves_it_only_while_it_runs() -> None:
    position = Position(48_000, 100.0)
    assert position.at(105.0, END) == 48_000
    position.run(True, 105.0, END)
    assert position.at(106.5, END) == 48_000 + 72_000
    position.run(False, 106.5, END)
    assert position.at(200.0, END) == 120_000


def test_it_stops_at_the_end_and_never_goes_back() -> None:
    position = Position(0, 100.0)
    position.run(True, 100.0, END)
    assert position.at(500.0, END) == END
    assert position.at(99.0, END) == 0


def test_where_it_is_said_to_be_it_goes_on_from() -> None:
    position = Position(0, 100.0)
    position.run(True, 100.0, END)
    position.set(96_000, 101.0)
    assert position.at(102.0, END) == 144_000
