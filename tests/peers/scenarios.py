"""What goes wrong, and when: each scenario is one kind of fault, always at the same points of the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.peers.faulty_proxy import Fault, break_off, hold_the_answer, lose_the_answer, refuse


@dataclass(frozen=True)
class Scenario:
    """`kills_at`, `server_kills_at`: numbers of renders after which the client, or the server, is killed, each with the
    seconds to wait first. `faults`: what the proxy does to which submission; a held answer means a kill of the client.
    """

    title: str
    kills_at: Mapping[int, float] = field(default_factory=dict)
    server_kills_at: Mapping[int, float] = field(default_factory=dict)
    faults: Mapping[int, Fault] = field(default_factory=dict)


SCENARIOS: Mapping[str, Scenario] = {
    "undisturbed": Scenario("nothing goes wrong"),
    "client": Scenario(
        "client killed 5 times",
        # At once and later: while an image is fetched, and while the next is rendered.
        kills_at={6: 0.0, 18: 0.15, 30: 0.05, 42: 0.25, 54: 0.1},
    ),
    "server": Scenario("server killed once", server_kills_at={25: 0.1}),
    "submitting": Scenario(
        "client killed 3 times between POST and answer",
        faults={5: hold_the_answer, 20: hold_the_answer, 40: hold_the_answer},
    ),
    "partly": Scenario(
        "6 of the POSTs fail",
        faults={
            4: refuse,
            12: break_off,
            20: lose_the_answer,
            28: refuse,
            36: break_off,
            44: lose_the_answer,
        },
    ),
}
