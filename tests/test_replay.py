"""The replay's ring, beside a deque."""

from collections import deque

import torch

from algorithms.replay import Batch, Replay

CPU = torch.device("cpu")


def transitions(values: list[float]) -> Batch:
    """Transitions that can be told apart in every part."""
    at = torch.tensor(values)
    return Batch(at[:, None] + torch.zeros(3), -at[:, None], 10 * at, at % 2 == 0, at[:, None] * 2)


def stored(replay: Replay) -> list[tuple[float, ...]]:
    """What it holds, oldest first."""
    parts = torch.cat([part.view(replay.capacity, -1).float() for part in replay._stored], 1)
    oldest_first = parts.roll(-replay.position, 0) if replay.size == replay.capacity else parts
    return [tuple(row) for row in oldest_first[: replay.size].tolist()]


def rows(values: deque) -> list[tuple[float, ...]]:
    return [(v, v, v, -v, 10 * v, float(v % 2 == 0), *[2 * v] * 3) for v in values]


def test_the_oldest_go_first_where_the_ring_closes_in_the_middle_of_a_step():
    """Three at a time into ten: the fourth step is cut in two, at another place each time round."""
    replay, expected = Replay(10, 3, 1, CPU), deque(maxlen=10)
    for step in range(20):
        new = [3.0 * step + k for k in range(3)]
        replay.add(transitions(new))
        expected.extend(new)
        assert stored(replay) == rows(expected)


def test_a_full_ring_is_restored_to_go_on_where_it_was():
    replay, expected = Replay(10, 3, 1, CPU), deque(maxlen=10)
    for step in range(5):
        replay.add(transitions([3.0 * step + k for k in range(3)]))
        expected.extend(3.0 * step + k for k in range(3))
    restored = Replay(10, 3, 1, CPU)
    restored.load_state_dict(replay.state_dict())
    for ring in (replay, restored):
        ring.add(transitions([90.0, 91.0, 92.0]))
    expected.extend([90.0, 91.0, 92.0])
    assert stored(replay) == stored(restored) == rows(expected)


def test_draws_are_of_all_that_is_stored_and_of_nothing_else():
    replay = Replay(10, 3, 1, CPU)
    replay.add(transitions([1.0, 2.0, 3.0]))
    generator = torch.Generator().manual_seed(0)
    assert set(replay.sample(200, generator).reward.tolist()) == {10, 20, 30}
    for start in (4.0, 7.0, 10.0):
        replay.add(transitions([start, start + 1, start + 2]))
    drawn = replay.sample(500, generator)
    assert set(drawn.reward.tolist()) == {10.0 * value for value in range(3, 13)}
    assert torch.equal(drawn.action[:, 0], -drawn.reward / 10), "parts of one transition"
