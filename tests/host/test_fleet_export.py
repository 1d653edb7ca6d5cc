"""`outpost device export`: everything that was recorded, though an answer is bounded."""

import csv

from outpost.fleet.export import LIMIT, collect, write_csv


class Server:
    """Answers as outpost.fleet.api does: thinned to the limit by every n-th point."""

    def __init__(self, series):
        self.series = series
        self.asked = 0

    def get(self, path, **query):
        assert path == "/devices/dev-1/telemetry"
        self.asked += 1
        return {"series": [self._one(name, query) for name in self.series]}

    def _one(self, name, query):
        points = [p for p in self.series[name] if query["from"] <= p[0] <= query["to"]]
        step = -(-len(points) // query["limit"])
        return {"metric": name, "points": points[::-1][:: max(step, 1)][::-1]}


def taken(points):
    return collect(points, "/devices/dev-1/telemetry", (0, 1 << 40))


def test_nothing_is_missing_and_nothing_is_twice():
    warm = [(60_000 * at, at / 100) for at in range(5 * LIMIT + 3)]
    wet = warm[::7]
    server = Server({"air_temperature": warm, "air_humidity": wet})
    found = taken(server)
    assert [(at, found[at]["air_temperature"]) for at in sorted(found)] == warm
    assert [(at, row["air_humidity"]) for at, row in sorted(found.items()) if len(row) == 2] == wet
    assert server.asked < 100


def test_many_points_of_one_millisecond_end_the_halving():
    assert taken(Server({"x": [(5, 1.0)] * LIMIT})) == {5: {"x": 1.0}}


def test_a_cell_without_a_value_is_empty(tmp_path):
    path = tmp_path / "rows.csv"
    assert write_csv(path, {2: {"b": 0.1}, 1: {"a": 1.5, "b": -2.0}}) == ["a", "b"]
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["time_ms", "a", "b"],
            ["1", "1.5", "-2.0"],
            ["2", "", "0.1"],
        ]
