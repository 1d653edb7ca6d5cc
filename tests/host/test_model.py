"""`outpost model`: training from recorded telemetry, and what the model then finds."""

import csv
import math
import random
import shutil

import pytest
from node.core import model, record
from outpost.boards import load_board
from outpost.build import configure, release
from outpost.build.product import load_product
from outpost.build.reach import Tree
from outpost.errors import OutpostError
from outpost.model.train import Settings, judge, train
from outpost.paths import project_root

COLUMNS = ["air_temperature", "air_humidity"]


def weather(rows, seed=1):
    """Days of a room, minute by minute: humidity falls as it gets warmer."""
    dice = random.Random(seed)
    out = []
    for at in range(rows):
        swing = math.sin(at * 2 * math.pi / 1440)
        celsius = 2100 + 300 * swing + dice.gauss(0, 4)
        humidity = 4500 - 500 * swing + dice.gauss(0, 15)
        out.append([round(celsius), round(humidity)])
    return out


@pytest.fixture(scope="module")
def trained():
    return train(weather(6000), COLUMNS, Settings())


def test_fits_the_bound_and_is_the_same_again(trained):
    assert len(trained.data) <= model.MAX_BYTES
    assert trained.trees >= 12
    assert train(weather(6000), COLUMNS, Settings()).data == trained.data
    assert train(weather(6000), COLUMNS, Settings(seed=2)).data != trained.data


def test_few_false_alarms_on_days_it_has_not_seen(trained):
    rows = weather(6000, seed=7)
    assert len(judge(trained.data, rows)) <= 0.005 * len(rows)


@pytest.mark.parametrize("change", [(300, 0), (-300, 0), (0, 900), (0, -900), (80, 300)])
def test_finds_what_is_not_weather(trained, change):
    rows = weather(1500, seed=9)
    for row in rows[1000:1010]:
        row[0] += change[0]
        row[1] += change[1]
    found = judge(trained.data, rows)
    assert any(1000 <= at <= 1010 for at in found)
    assert len([at for at in found if at < 1000]) <= 8


def test_too_little_data_is_refused():
    with pytest.raises(OutpostError) as caught:
        train(weather(100), COLUMNS, Settings())
    assert (caught.value.code, caught.value.exit_code) == ("model-data", 2)


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time_ms", *COLUMNS, "note"])
        for at, (celsius, humidity) in enumerate(rows):
            empty = at % 50 == 0
            writer.writerow([at * 60000, "" if empty else celsius / 100, humidity / 100, "x"])


def test_command_line(tmp_path, outpost):
    schema, data, out = tmp_path / "schema.cbor", tmp_path / "rows.csv", tmp_path / "model.cbor"
    schema.write_bytes(record.make_schema([(name, "Cel", -2) for name in COLUMNS]))
    write_csv(data, weather(3000))
    made = outpost(*map(str, ("model", "train", data, "--schema", schema, "--out", out, "--json")))
    assert made.exit_code == 0, made.stderr
    assert made.json["result"]["rows"] == 2940
    assert model.Model(out.read_bytes()).columns == COLUMNS
    tried = outpost(*map(str, ("model", "test", out, data, "--schema", schema, "--json")))
    assert len(tried.json["result"]["unusual"]) == made.json["result"]["flagged"]
    wrong = ("model", "train", data, "--schema", schema, "--out", out, "--column", "x")
    wrong = outpost(*map(str, wrong))
    assert wrong.exit_code == 2


def product_with(tmp_path, data):
    folder = tmp_path / "weather"
    shutil.copytree(project_root() / "firmware/products/weather", folder)
    (folder / "model.cbor").write_bytes(data)
    return folder


def test_the_build_ships_it_and_what_runs_it(tmp_path, trained):
    folder = product_with(tmp_path, trained.data)
    options = release.BuildOptions(firmware=project_root() / "firmware")
    files = release.slot_files(*release_inputs(folder), options)
    assert files["model.cbor"] == trained.data
    assert "node/core/model.mpy" in files
    plain = project_root() / "firmware/products/weather"
    assert "node/core/model.mpy" not in release.slot_files(*release_inputs(plain), options)


@pytest.mark.parametrize("columns", [None, ["other_column", "air_humidity"]])
def test_the_build_refuses_another(tmp_path, columns):
    data = b"\xa0" if columns is None else train(weather(600), columns, Settings()).data
    with pytest.raises(OutpostError) as caught:
        configure.data_files(*release_inputs(product_with(tmp_path, data)), firmware_tree())
    assert (caught.value.code, caught.value.exit_code) == ("product-invalid", 2)


def firmware_tree():
    tree = Tree()
    tree.add(project_root() / "firmware" / "node", "node")
    return tree


def release_inputs(folder):
    product = load_product(folder)
    return product, [load_board(name) for name in product.boards]
