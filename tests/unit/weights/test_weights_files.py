"""Files of arrays: what they hold, and what is refused."""

import io
import json
import zipfile

import numpy as np
import pytest

import derive
from derive import cells, weights
from derive.cli.main import status
from derive.weights import contents
from derive.weights.any_system import load_any
from derive.weights.array_files import read_arrays

I, H = 3, 4  # noqa: E741
RANDOM = np.random.default_rng(4)
LSTM = cells.lstm()


def rand(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def torch_arrays(begin="", end="_l0", gates=4, width=I):
    return {
        f"{begin}weight_ih{end}": rand(gates * H, width),
        f"{begin}weight_hh{end}": rand(gates * H, H),
        f"{begin}bias_ih{end}": rand(gates * H),
        f"{begin}bias_hh{end}": rand(gates * H),
    }


def same(found, wanted):
    assert set(found) == set(wanted)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def written(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        pytest.importorskip("safetensors")
        from safetensors.numpy import save_file

        save_file(arrays, path)
    elif path.suffix in (".pt", ".pth"):
        torch = pytest.importorskip("torch")
        torch.save({name: torch.tensor(a) for name, a in arrays.items()}, path)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[f"{name}:0"] = array
    return path


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".pt", ".pth", ".h5"])
def test_a_path_serves_as_the_arrays_of_its_file(tmp_path, ending):
    arrays = torch_arrays("encoder.")
    path = written(tmp_path / f"model{ending}", arrays)
    same(weights.load(LSTM, "pytorch", path), weights.load(LSTM, "pytorch", arrays))
    (part,) = contents(path).parts
    assert (part.kind, part.place, part.sizes) == ("pytorch", "encoder.*_l0", {"I": I, "H": H})
    assert part.cell == "derive.cells.lstm()"
    found = eval(part.load, {"weights": weights, "cell": LSTM})
    same(found, weights.load(LSTM, "pytorch", arrays))


def test_layers_directions_and_others_are_listed(tmp_path):
    arrays = {**torch_arrays("rnn."), **torch_arrays("rnn.", "_l0_reverse")}
    arrays |= torch_arrays("rnn.", "_l1", width=2 * H)
    arrays |= torch_arrays("cell.", "", gates=3) | {"head.weight": rand(2, H)}
    found = contents(written(tmp_path / "a.npz", arrays))
    assert [(part.place, part.direction) for part in found.parts] == [
        ("rnn.*_l0", ""), ("rnn.*_l0_reverse", "reverse"), ("rnn.*_l1", ""), ("cell.*", "")
    ]  # fmt: skip
    assert found.others == ("head.weight [2, 4]",)
    assert "GRUCell" not in str(found) and 'gru(reset="after"' in found.parts[3].cell


def test_names_that_carry_the_layer_in_a_flat_archive(tmp_path):
    arrays = {f"enc_{k[:-3].replace('weight', 'w').replace('bias', 'b')}": v
              for k, v in torch_arrays().items()}  # fmt: skip
    arrays["enc_emb"] = rand(9, I)
    assert "enc_w_ih" in arrays
    found = contents(written(tmp_path / "a.npz", arrays))
    assert found.parts[0].place == "enc_*" and found.others == ("enc_emb [9, 3]",)
    loaded = weights.load(LSTM, "pytorch", arrays, layer=None)
    plain = {k.removeprefix("enc_"): v for k, v in arrays.items() if k != "enc_emb"}
    same(loaded, weights.load(LSTM, "pytorch", plain, layer=None))


def test_an_archive_with_names_of_its_own_is_mapped_by_one_argument():
    own = {"weight_ih": "Wx", "weight_hh": "Wh", "bias_ih": "b1", "bias_hh": "b2"}
    arrays = torch_arrays()
    renamed = {f"net/{own[name[:-3]]}": array for name, array in arrays.items()}
    found = weights.load(LSTM, "pytorch", renamed, names=own, prefix="net/")
    same(found, weights.load(LSTM, "pytorch", arrays))
    for names, text in (
        ({"weight_ih": "Wy"}, "the archive has no array 'net/Wy'"),
        ({"kernel": "Wx"}, "PyTorch has no array 'kernel' in a recurrent cell"),
        (["Wx"], "names must be a mapping from the names of PyTorch"),
    ):
        with pytest.raises(derive.DeriveError) as error:
            weights.load(LSTM, "pytorch", renamed, names=names, prefix="net/")
        assert text in str(error.value)


def test_biases_are_added_in_the_dtype_that_is_asked_for():
    arrays = torch_arrays()
    exact = arrays["bias_ih_l0"].astype(float) + arrays["bias_hh_l0"]
    found = weights.load(LSTM, "pytorch", arrays, dtype="float64")
    assert np.array_equal(found["b_i"], exact[:H])
    assert weights.load(LSTM, "pytorch", arrays)["b_i"].dtype == np.float32
    with pytest.raises(derive.DeriveError, match="dtype is float32 or float64, not 'int8'"):
        weights.load(LSTM, "pytorch", arrays, dtype="int8")
    with pytest.raises(derive.DeriveError, match="dtype is float32 or float64, not 'real'"):
        weights.load(LSTM, "pytorch", arrays, dtype="real")


# --- Keras ------------------------------------------------------------------------------------


def keras_file(path, name="layers/lstm/cell"):
    h5py = pytest.importorskip("h5py")
    arrays = [rand(I, 4 * H), rand(H, 4 * H), rand(4 * H)]
    target = io.BytesIO() if path.suffix == ".keras" else path
    with h5py.File(target, "w") as file:
        for k, array in enumerate(arrays):
            file[f"{name}/vars/{k}"] = array
        file["layers/dense/vars/0"] = rand(H, 2)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.weights.h5", target.getvalue())
            archive.writestr("config.json", "{}")
    return arrays


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_variables_that_keras_numbers_are_named(tmp_path, ending):
    path = tmp_path / f"model{ending}"
    arrays = keras_file(path.with_name(path.name))
    same(weights.load(LSTM, "keras", path), weights.load(LSTM, "keras", arrays))
    (part,) = contents(path).parts
    assert (part.kind, part.place) == ("keras", "layers/lstm/cell/*")


def test_hdf5_takes_nothing_from_other_files(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(64))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (8,), "f4", external=[(str(tmp_path / "secret"), 0, 32)])
    with pytest.raises(derive.DeriveError, match="takes 'x' from another file"):
        read_arrays(str(path))


def test_a_keras_file_without_weights_is_refused(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(derive.DeriveError, match=r"has no weights in it\n  it has config.json"):
        read_arrays(str(path))
    path.write_bytes(b"abc")
    with pytest.raises(derive.DeriveError, match=r"is no .keras file"):
        read_arrays(str(path))


# --- damaged and hostile files ----------------------------------------------------------------


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".pt", ".h5", ".keras"])
def test_a_file_that_is_cut_off_is_named(tmp_path, ending):
    path = tmp_path / f"whole{ending}"
    if ending == ".keras":
        keras_file(path)
    else:
        written(path, torch_arrays())
    data = path.read_bytes()
    cut = tmp_path / f"cut{ending}"
    for share in (0, 0.01, 0.3, 0.6, 0.9):
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(derive.DeriveError) as error:
            contents(cut)
        assert str(cut) in str(error.value)
        assert "allow_pickle=True" not in str(error.value)
        assert "weights_only=False" not in str(error.value)
    with pytest.raises(derive.DeriveError, match="cannot be read: No such file"):
        contents(tmp_path / f"none{ending}")


def test_objects_are_not_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "a.npz", x=np.array([Trap()], object))
    with pytest.raises(derive.DeriveError, match="holds Python objects, which are not read"):
        contents(tmp_path / "a.npz")
    torch = pytest.importorskip("torch")
    torch.save({"x": Trap()}, tmp_path / "a.pt")
    with pytest.raises(derive.DeriveError, match="holds no plain tensors"):
        contents(tmp_path / "a.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_program_of_torchscript_is_not_run(tmp_path):
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/constants.pkl", b"")
    with pytest.raises(derive.DeriveError, match="is a TorchScript program, which is not run"):
        contents(path)


def test_a_small_file_cannot_unpack_to_a_large_one(tmp_path, monkeypatch):
    monkeypatch.setattr("derive.weights.array_files.ROOM", 2**16)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(2**18))
    with pytest.raises(derive.DeriveError, match="unpacks to more than is read"):
        contents(tmp_path / "a.npz")


def test_a_header_cannot_ask_for_more_than_there_is(tmp_path):
    path = tmp_path / "a.npz"
    head = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", head + text.ljust(117).encode() + b"\n" + bytes(64))
    with pytest.raises(derive.DeriveError, match=r"is cut off\n  'x.npy' lacks"):
        contents(path)


def test_nested_tensors_are_found_and_the_rest_is_left(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(a).bfloat16() for name, a in torch_arrays().items()}
    torch.save({"epoch": 3, "model": {"rnn": tensors}}, tmp_path / "a.pt")
    found = read_arrays(str(tmp_path / "a.pt"))
    assert set(found) == {f"model.rnn.{name}" for name in tensors}
    assert all(array.dtype == np.float32 for array in found.values())
    torch.save({"epoch": 3}, tmp_path / "b.pt")
    with pytest.raises(derive.DeriveError, match="holds no arrays of numbers"):
        contents(tmp_path / "b.pt")


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_numbers_of_sixteen_bits_are_read_as_float32(tmp_path, kind):
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from safetensors.torch import save_file

    tensors = {name: torch.tensor(a).to(getattr(torch, kind)) for name, a in torch_arrays().items()}
    save_file(tensors, tmp_path / "a.safetensors")
    found = read_arrays(str(tmp_path / "a.safetensors"))
    same(found, {name: tensor.float().numpy() for name, tensor in tensors.items()})


def test_an_ending_that_is_not_known_is_refused():
    with pytest.raises(derive.DeriveError, match="is no file of weights by its ending"):
        contents("model.bin")
    for wrong in (None, 3):
        with pytest.raises(derive.DeriveError, match="path must be a path, not"):
            contents(wrong)
        with pytest.raises(derive.DeriveError, match="path must be a path, not"):
            load_any(cells.lstm(), wrong)


@pytest.mark.parametrize(
    ("package", "ending"), [("h5py", ".h5"), ("torch", ".pt"), ("safetensors", ".safetensors")]
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"abc")
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(derive.DeriveError, match=f"needs the package {package}"):
        contents(path)


# --- the command ------------------------------------------------------------------------------


def test_derive_weights_prints_text_and_json(tmp_path, capsys):
    path = written(tmp_path / "a.npz", torch_arrays())
    assert status(["weights", str(path)]) == 0
    out = capsys.readouterr().out
    assert "1 recurrent cell\n" in out and "*_l0  pytorch  I=3 H=4" in out
    assert status(["weights", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"][0]["sizes"] == {"I": I, "H": H}
    assert status(["weights", str(written(tmp_path / "b.npz", {"x": rand(2)}))]) == 1
    assert status(["weights", str(tmp_path / "c.npz")]) == 2


@pytest.mark.parametrize("end", ["_l1", "_l0_reverse"])
def test_several_layers_of_our_own_are_not_taken_for_one(tmp_path, end):
    cell = cells.lstm()
    own = derive.compile(cell, "numpy").init(I=3, H=3, seed=0)
    layers = {f"{name}{e}": a for e in ("_l0", end) for name, a in own.items()}
    np.savez(tmp_path / "layers.npz", **layers)
    with pytest.raises(derive.DeriveError, match=r"layers.npz holds more than one layer of lstm"):
        load_any(cell, tmp_path / "layers.npz")
