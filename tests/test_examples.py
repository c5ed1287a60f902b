"""docs/examples: what they claim, in runs of a few seconds."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import derive
from derive.cells import from_spec
from derive.cli.main import status

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
sys.path.append(str(EXAMPLES))

import character_model as text_example  # noqa: E402
import digits as digits_example  # noqa: E402

JANET = EXAMPLES / "janet.cell"
GATED = EXAMPLES / "janet_gated.cell"
CELLS = {
    "lstm": derive.cells.lstm,
    "janet": lambda: derive.load(JANET),
    "janet_gated": lambda: derive.load(GATED),
}
SHORT = text_example.Settings(
    steps=30, hidden=24, embedding=12, rows=16, chunk=24, rate=1e-2, clip=1.0, seed=1
)


@pytest.fixture(scope="module")
def corpus():
    return text_example.Corpus.of(text_example.python_help())


# --- the cells ------------------------------------------------------------------------------------


def test_janet_as_text_is_janet_of_the_catalogue() -> None:
    assert derive.load(JANET) == derive.cells.janet()


def test_the_gated_variant_changes_one_equation() -> None:
    before, after = (path.read_text().splitlines() for path in (JANET, GATED))
    changed = [a for a, b in zip(after, before, strict=True) if a != b]
    assert [line.split()[0] for line in changed] == ["cell", "doc", "g"]


def equations(listing: str) -> dict[str, list[str]]:
    """{left side: sorted tokens of the right side}; lines that go on are joined."""
    lines = re.sub(r"\n +(?=[-+*/] )", " ", listing).splitlines()
    pairs = (line.split(" = ", 1) for line in lines if " = " in line and "(a, b)" not in line)
    return {left.strip(): sorted(re.findall(r"\w+|\S", right)) for left, right in pairs}


def test_the_tutorial_shows_the_gradients_that_are_derived(capsys) -> None:
    page = (EXAMPLES.parent / "tutorial" / "character-model.md").read_text()
    shown = re.findall(r"\$ derive show docs/examples/(\S+) --stage gradient\n(.*?)```", page, re.S)
    assert [name for name, _ in shown] == [JANET.name, GATED.name]
    derived = []
    for path in (JANET, GATED):
        assert status(["show", str(path), "--stage", "gradient"]) == 0
        derived.append(equations(capsys.readouterr().out))
    before, after = derived
    assert equations(shown[0][1]) == before
    assert equations(shown[1][1]) == {k: v for k, v in after.items() if before.get(k) != v}


# --- the text -------------------------------------------------------------------------------------


def test_no_paragraph_of_the_text_comes_twice() -> None:
    paragraphs = [" ".join(p.split()) for p in text_example.python_help().split("\n\n")]
    assert len(paragraphs) > 1000
    assert len(set(paragraphs)) == len(paragraphs)


def test_a_corpus_spells_its_text_and_unknown_characters_are_one_symbol() -> None:
    corpus = text_example.Corpus.of("abab ba\n\nbZaZ", part=0.5)
    spelled = ["".join(corpus.symbols[k] for k in part) for part in (corpus.train, corpus.valid)]
    assert spelled == ["abab ba\n\n", f"b{text_example.UNKNOWN}a{text_example.UNKNOWN}"]


def test_streams_are_pieces_of_the_text_and_what_follows_each_character() -> None:
    inputs, targets = text_example.streams(np.arange(11), rows=3)
    assert inputs.T.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert (targets == inputs + 1).all()


def test_ngram_models_gain_nothing_on_noise() -> None:
    """A model whose probabilities add up to more than one would."""
    noise = np.random.default_rng(0).integers(1, 5, 8000)
    corpus = text_example.Corpus("-abcd", noise[:4000], noise[4000:])
    for order in (1, 2, 4):
        assert text_example.ngram_bits(corpus, order) > 1.99


def test_ngram_models_learn_a_rule_of_their_order() -> None:
    """Nine characters in ten are the sum of the two before them, modulo 5."""
    random = np.random.default_rng(0)
    rule = [1, 2]
    for _ in range(4000):
        free = random.random() < 0.1
        rule.append(int(random.integers(5)) if free else (rule[-1] + rule[-2]) % 5)
    corpus = text_example.Corpus("abcde", np.array(rule[:3000]), np.array(rule[3000:]))
    assert text_example.ngram_bits(corpus, 2) > 1.9
    # 0.92 of the characters follow, four others share 0.08: 0.56 bits.
    assert 0.4 < text_example.ngram_bits(corpus, 3) < 0.75


# --- what surrounds the kernels -------------------------------------------------------------------


def slope(loss, arrays, directions, step=1e-5):
    """Central difference of loss() along `directions`; the arrays are put back."""
    kept = [array.copy() for array in arrays]
    values = []
    for sign in (1, -1):
        for array, old, direction in zip(arrays, kept, directions, strict=True):
            array[...] = old + sign * step * direction
        values.append(loss())
    for array, old in zip(arrays, kept, strict=True):
        array[...] = old
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_the_character_model_are_those_of_its_loss(cell: str, corpus) -> None:
    model = text_example.build(CELLS[cell](), corpus, SHORT, "numpy", "float64")
    x, y = (part[:9] for part in text_example.streams(corpus.train, 4))
    _, gradients, _ = model.gradients(x, y, None)
    random = np.random.default_rng(0)
    assert set(gradients) == set(model.params)
    for k, array in model.params.items():
        d = gradients[k]
        assert array.shape == d.shape
        direction = random.normal(size=array.shape)
        observed = slope(lambda: model.gradients(x, y, None)[0], [array], [direction])
        assert abs(observed - np.vdot(d, direction)) < 1e-8, k


@pytest.mark.parametrize("both", [False, True])
def test_gradients_of_the_classifier_are_those_of_its_loss(both: bool) -> None:
    kernel = derive.compile(derive.cells.gru(), target="numpy", dtype="float64")
    model = digits_example.Classifier(kernel, hidden=7, both=both)
    random = np.random.default_rng(0)
    images = digits_example.Images(random.random((8, 5, 8)), random.integers(0, 10, 5))
    lengths = np.array([8, 3, 1, 5, 8])
    _, gradients = model.gradients(images, lengths)
    arrays = list(model.params.values())
    directions = [random.normal(size=array.shape) for array in arrays]
    observed = slope(lambda: model.gradients(images, lengths)[0], arrays, directions)
    ordered = [gradients[name] for name in model.params]
    expected = sum(np.vdot(d, v) for d, v in zip(ordered, directions, strict=True))
    assert abs(observed - expected) < 1e-8


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ("fast_grnn:low_rank=true", {"R": 2, "Q": 3}),
        ("mamba", {"K": 2, "R": 2}),
        ("slstm", {"N": 2, "D": 3}),
        ("lstm:projection=true", {"P": 4}),
    ],
)
def test_examples_take_cells_with_any_dimensions(spec: str, sizes: dict[str, int]) -> None:
    """Their gradients are those of their losses: along one direction in all parameters."""
    kernel = derive.compile(from_spec(spec), target="numpy", dtype="float64")
    random = np.random.default_rng(0)
    images = digits_example.Images(random.random((8, 5, 8)), random.integers(0, 10, 5))
    lengths = np.array([8, 3, 1, 5, 8])
    x, y = random.integers(0, 6, (2, 5, 3))
    reader = digits_example.Classifier(kernel, hidden=5, both=True, sizes=sizes)
    writer = text_example.CharacterModel(kernel, 6, embedding=4, hidden=5, seed=0, sizes=sizes)
    for model, arguments in ((reader, (images, lengths)), (writer, (x, y, None))):
        gradients = model.gradients(*arguments)[1]
        directions = {name: random.normal(size=a.shape) for name, a in model.params.items()}
        observed = slope(
            lambda model=model, arguments=arguments: model.gradients(*arguments)[0],
            list(model.params.values()), list(directions.values()),
        )  # fmt: skip
        expected = sum(np.vdot(gradients[name], v) for name, v in directions.items())
        assert abs(observed - expected) < 1e-7
    text = next(writer.write(np.array([1, 2])))
    assert 0 <= text < 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["fast_grnn:low_rank=true"], "--size R=2 --size Q=2"),
        (["lstm", "--size", "Z=2"], "no dimension Z; it has H, I"),
        (["gru_d"], "inputs"),
        (["no_such_cell"], "no_such_cell"),
    ],
)
@pytest.mark.parametrize("example", [digits_example, text_example])
def test_examples_say_which_size_is_missing(example, options: list[str], said: str) -> None:
    if example is digits_example:
        pytest.importorskip("sklearn")
    with pytest.raises(SystemExit, match=re.escape(said)):
        example.main([*options, "--target", "numpy"])


def test_digits_say_what_they_come_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SystemExit, match="pip install scikit-learn"):
        digits_example.main(["lstm"])


# --- training on text -----------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_targets_give_the_same_loss_curve_and_it_falls(cell: str, corpus) -> None:
    curves = text_example.compare_targets(CELLS[cell](), corpus, SHORT)
    np.testing.assert_allclose(curves["c"], curves["numpy"], rtol=0, atol=1e-9)
    assert np.mean(curves["c"][-5:]) < np.mean(curves["c"][:5]) - 1.0


@pytest.fixture(scope="module")
def trained(corpus):
    """JANET after about a second of training, with its losses."""
    settings = dataclasses.replace(
        SHORT, steps=200, hidden=64, embedding=32, rows=32, chunk=32, seed=0
    )
    model = text_example.build(CELLS["janet"](), corpus, settings, "c", "float32")
    return model, text_example.train(model, corpus.train, settings)


def test_a_second_of_training_beats_bigrams(trained, corpus) -> None:
    """2.84 against 3.45 with the text of Python 3.11."""
    model, _ = trained
    assert model.bits(corpus.valid) < text_example.ngram_bits(corpus, 2) - 0.3


def test_training_again_gives_the_same_bits(corpus) -> None:
    curves = [
        text_example.train(
            text_example.build(CELLS["janet"](), corpus, SHORT, "c", "float32"), corpus.train, SHORT
        )
        for _ in range(2)
    ]
    assert curves[0] == curves[1]


def test_validation_does_not_depend_on_how_the_text_is_cut_into_chunks(trained, corpus) -> None:
    """State is carried over from chunk to chunk."""
    model, _ = trained
    text = corpus.valid[:3201]
    whole, cut = (model.bits(text, rows=8, chunk=chunk) for chunk in (400, 50))
    assert whole == pytest.approx(cut, abs=1e-6)
    assert model.bits(text, rows=800) > whole + 0.1


def test_writing_follows_the_distribution_of_the_forward_pass(trained, corpus) -> None:
    """Nearly without temperature, each character is the likeliest after all before it."""
    model, _ = trained
    prompt = corpus.numbers("The ")
    stream = model.write(prompt, temperature=1e-3)
    written = [next(stream) for _ in range(30)]
    numbers = np.array([*prompt, *written])
    run = model.kernel.forward(model.cell, model.table[numbers[:, None]], training=False)
    logits = (run.output @ model.readout + model.bias)[len(prompt) - 1 : -1, 0]
    assert written == logits.argmax(axis=1).tolist()


def test_writing_depends_on_the_seed_alone(trained, corpus) -> None:
    model, _ = trained
    texts = []
    for seed in (0, 0, 1):
        stream = model.write(corpus.numbers("T"), seed=seed)
        texts.append([next(stream) for _ in range(40)])
    assert texts[0] == texts[1] != texts[2]


# --- digits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cell", "both"), [("lstm", False), ("gru", False), ("gru", True)])
def test_digits_are_told_apart_after_a_second(cell: str, both: bool) -> None:
    pytest.importorskip("sklearn")
    images, judging = digits_example.load_images()
    kernel = derive.compile(getattr(derive.cells, cell)(), dtype="float32")
    model = digits_example.Classifier(kernel, both=both)
    losses = digits_example.train(model, images, epochs=25)
    assert losses[-1] < losses[0] / 5
    assert model.accuracy(judging) > 0.9
    assert model.accuracy(judging, rows=1) < 0.5


def test_rows_after_the_length_are_not_read() -> None:
    kernel = derive.compile(derive.cells.gru(), target="numpy", dtype="float64")
    model = digits_example.Classifier(kernel, hidden=7, both=True)
    random = np.random.default_rng(0)
    images = digits_example.Images(random.random((8, 40, 8)), random.integers(0, 10, 40))
    other = digits_example.Images(images.x.copy(), images.y)
    other.x[5:] = random.random((3, 40, 8))
    same, changed = (
        [model.gradients(part, np.full(40, rows))[0] for part in (images, other)] for rows in (5, 6)
    )
    assert same[0] == same[1]
    assert changed[0] != changed[1]


# --- the commands ---------------------------------------------------------------------------------


def test_the_character_model_reports_what_it_measured(tmp_path: Path, capsys) -> None:
    report = tmp_path / "report.json"
    options = "--steps 9 --hidden 8 --embedding 4 --check 3 --characters 5 --target numpy"
    text_example.main([*options.split(), "--prompt", "It ", "--json", str(report)])
    output = capsys.readouterr().out
    assert "largest difference" in output
    result = json.loads(report.read_text())
    assert [r["cell"] for r in result["results"]] == ["lstm", "janet"]
    assert list(result["results"][0]["valid"]) == [str(step) for step in range(1, 10)]
    assert set(result["check"]["bits"]["janet"]) == {"numpy", "c"}
    assert result["baselines"]["2-grams"] < result["baselines"]["1-grams"]
    assert result["sample"].startswith("It ") and len(result["sample"]) == 8
    assert result["sample"] in output


def test_digits_report_what_they_measured(tmp_path: Path, capsys) -> None:
    pytest.importorskip("sklearn")
    report = tmp_path / "report.json"
    options = ["--epochs", "1", "--hidden", "8", "--target", "numpy", "--json", str(report)]
    digits_example.main([str(JANET), *options])
    assert "rows read" in capsys.readouterr().out
    assert [r["model"] for r in json.loads(report.read_text())] == ["janet", "janet, both ways"]


@pytest.mark.parametrize("script", ["character_model.py", "digits.py"])
def test_scripts_start_from_any_folder(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / script), "--help"]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout
