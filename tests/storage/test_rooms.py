"""A room is filled again when nobody looks at it any more, and never before."""

from __future__ import annotations

import threading

from lineart.storage.rooms import Room, Rooms


def test_a_room_that_nobody_looks_at_is_used_again():
    rooms = Rooms(10)
    first = rooms.take()
    assert type(first) is Room
    assert len(first) == 10
    first[:] = b"0123456789"
    assert rooms.take() is first
    assert bytes(first) == b"0123456789", "what it held is still in it"


def test_a_room_that_somebody_looks_at_is_left_alone():
    rooms = Rooms(10)
    first = rooms.take()
    piece = memoryview(first).toreadonly()[3:5]
    second = rooms.take()
    assert second is not first
    del piece
    assert rooms.take() is first


def test_a_view_made_by_another_thread_counts():
    rooms = Rooms(10)
    held = []
    thread = threading.Thread(target=held.append, args=[memoryview(rooms.take())[1:2]])
    thread.start()
    thread.join()
    assert rooms.take() is not held[0].obj


def test_there_are_no_more_rooms_than_are_looked_at_at_one_time():
    rooms = Rooms(10)
    for _ in range(5):
        views = [memoryview(rooms.take()) for _ in range(3)]
        assert len({id(view.obj) for view in views}) == 3
    known = {id(view.obj) for view in views}
    del views
    assert id(rooms.take()) in known
