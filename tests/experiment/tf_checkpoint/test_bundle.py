"""TensorFlow's checkpoints read without it: to the bit, or refused with the reason."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asteroid_waveunet.experiment.tf_checkpoint import bundle
from helpers import tf_writer
from helpers.paths import GOLDEN

GOLDEN_CHECKPOINTS = GOLDEN / "checkpoints"
VARIABLES = {
    "global_step": np.int64(7),
    "separator/conv1d/bias": np.array([0.5, -1.5], np.float32),
    "separator/conv1d/kernel": np.arange(6, dtype=np.float32).reshape(1, 3, 2),
}


def assert_same(read, expected):
    """To the bit, and in the machine's own byte order."""
    assert read.keys() == expected.keys()
    for name, array in expected.items():
        assert read[name].dtype == np.asarray(array).dtype
        assert read[name].shape == np.asarray(array).shape
        assert read[name].tobytes() == np.asarray(array).tobytes(), name


@pytest.mark.parametrize("name", ["tiny_m4", "tiny_m5"])
def test_what_tensorflow_wrote_is_read_to_the_bit(name):
    recorded = np.load(GOLDEN_CHECKPOINTS / name / "golden.npz")
    after = {
        key.removeprefix("after/").removesuffix(":0"): recorded[key]
        for key in recorded
        if key.startswith("after/")
    }
    assert_same(bundle.read(GOLDEN_CHECKPOINTS / name, verify=True), after)


DTYPES = [np.dtype(name) for name in tf_writer.DTYPES]
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda dtype: arrays(dtype, st.sampled_from(
    [(), (1,), (3,), (2, 5), (1, 3, 2), (0,), (2, 0, 3)]
)))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    variables=st.dictionaries(
        st.sampled_from("abc").flatmap(lambda c: st.integers(0, 400).map(lambda n: f"{c}/é_{n}")),
        ARRAYS,
        max_size=12,
    ),
    shards=st.integers(1, 3),
    big_endian=st.booleans(),
    block_size=st.integers(1, 200),
    restart_interval=st.integers(1, 5),
)
def test_what_is_written_is_read(tmp_path_factory, variables, **options):
    prefix = tf_writer.write(tmp_path_factory.mktemp("c") / "model.v1-3", variables, **options)
    assert_same(bundle.read(prefix, verify=True), variables)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 31, 4096, 2**18, 2**18 + 4, 3 * 2**17 + 7])
def test_the_checksum_is_that_of_a_plain_loop(size):
    octets = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    assert bundle.crc32c(octets) == tf_writer.crc32c(octets.tobytes())


# Where a checkpoint is.


@pytest.mark.parametrize("name", ["", ".index", ".data-00000-of-00002", ".meta"])
def test_a_checkpoint_is_named_by_any_of_its_files(tmp_path, name):
    prefix = tf_writer.write(tmp_path / "full.1-93", VARIABLES, shards=2)
    assert bundle.locate(f"{prefix}{name}") == prefix
    assert_same(bundle.read(f"{prefix}{name}"), VARIABLES)


def test_a_folder_has_one_checkpoint_or_says_which_is_the_newest(tmp_path):
    first = tf_writer.write(tmp_path / "model-9", VARIABLES)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "elsewhere"\n')
    assert bundle.locate(tmp_path) == first
    second = tf_writer.write(tmp_path / "model-10", VARIABLES)
    with pytest.raises(ValueError, match="several checkpoints; name one of model-10, model-9"):
        bundle.locate(tmp_path)
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "/home/of the/author/model-10"\n'
        'all_model_checkpoint_paths: "/home/of the/author/model-9"\n'
    )
    assert bundle.locate(tmp_path) == second


def test_what_is_not_there_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no .*model-3\.index; expected the name"):
        bundle.read(tmp_path / "model-3")
    with pytest.raises(FileNotFoundError, match=r"holds no TensorFlow checkpoint \(\*\.index\)"):
        bundle.read(tmp_path)
    prefix = tf_writer.write(tmp_path / "model-3", VARIABLES, shards=2)
    (tmp_path / "model-3.data-00001-of-00002").unlink()
    with pytest.raises(FileNotFoundError, match="There is no .*data-00001-of-00002, which"):
        bundle.read(prefix)
    (tmp_path / "model-3.index").unlink()
    with pytest.raises(FileNotFoundError, match=r"needs model-3\.index beside it"):
        bundle.read(tmp_path / "model-3.data-00000-of-00002")


def test_only_what_is_wanted_is_read(tmp_path):
    prefix = tf_writer.write(tmp_path / "model", VARIABLES, shards=3)
    (tmp_path / "model.data-00000-of-00003").unlink()
    wanted = {name: array for name, array in VARIABLES.items() if name.endswith("bias")}
    assert_same(bundle.read(prefix, wanted=wanted.__contains__), wanted)
    assert bundle.entries(prefix).keys() == VARIABLES.keys()


# Refusals.


def entry_with(name, **changes):
    """Changes the entry of a variable: its fields by what `tf_bundle.Entry` calls them."""
    numbers = {"dtype": 1, "shape": 2, "shard": 3, "offset": 4, "size": 5, "sliced": 7}

    def edit(written, entry):
        if written.endswith(name):
            entry.update({numbers[field]: value for field, value in changes.items()})

    return edit


REFUSED = {
    "it is compressed (Snappy), which TensorFlow's Saver does not do": dict(compression=1),
    "it is compressed (type 7)": dict(compression=7),
    "its format has the version 0": dict(version=b""),
    "its format has the version 2, for readers of version 0": dict(version=tf_writer.field(1, 2)),
    "the version 1, for readers of version 2 or newer; this one reads version 1": dict(
        version=tf_writer.field(1, 1) + tf_writer.field(2, 2)
    ),
    "conv1d/bias is saved in slices": dict(edit=entry_with("bias", sliced=b"")),
    "conv1d/bias is of TensorFlow's dtype 7; expected float32": dict(
        edit=entry_with("bias", dtype=7)
    ),
    "conv1d/bias has 8 bytes, but float32 (3,) takes 12": dict(
        edit=entry_with("bias", shape=tf_writer.shape((3,)))
    ),
    "conv1d/bias is in shard 1, but it has 1 of them": dict(edit=entry_with("bias", shard=1)),
    "a size is negative": dict(edit=entry_with("bias", shape=tf_writer.shape((0, 2**64 - 1)))),
    "field 4 is no number": dict(edit=entry_with("bias", offset=b"a")),
    "field 2 is no message": dict(edit=entry_with("bias", shape=3)),
    "it is truncated, 40 bytes long instead of 108 or more": dict(
        edit=entry_with("bias", offset=100)
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, reason):
    prefix = tf_writer.write(tmp_path / "model", VARIABLES, **REFUSED[reason])
    with pytest.raises(ValueError) as error:
        bundle.read(prefix)
    assert str(error.value).startswith(str(prefix)), "the file is named"
    assert reason in str(error.value)


def test_no_more_is_read_than_a_shard_has(tmp_path):
    """An index that points often to the same bytes would take any amount of memory."""
    variables = {f"v{i}": np.ones(50, np.float32) for i in range(9)}

    def at_the_start(name, entry):
        entry[4] = 0

    prefix = tf_writer.write(tmp_path / "model", variables, edit=at_the_start)
    data = tmp_path / "model.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:200])
    with pytest.raises(ValueError, match="variables share bytes of it"):
        bundle.read(prefix)


def test_other_files_are_refused(tmp_path):
    v1 = tmp_path / "model.ckpt"
    v1.write_bytes(tf_writer.table([(b"", b"")]))
    with pytest.raises(ValueError, match=r"model\.ckpt is no .* older format V1; restore it"):
        bundle.read(v1)
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF")
    with pytest.raises(ValueError, match=r"such have a file \.index and files \.data-"):
        bundle.read(tmp_path / "weights.h5")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty is no TensorFlow V2 checkpoint"):
        bundle.read(tmp_path / "empty")
    foreign = tmp_path / "foreign.index"
    foreign.write_bytes(tf_writer.table([(b"key", b"value")]))
    with pytest.raises(ValueError, match="it has no header"):
        bundle.read(foreign)
    foreign.write_bytes(tf_writer.table([(b"", b""), (b"", b"")]))
    with pytest.raises(ValueError, match="the name b'' comes twice"):
        bundle.read(foreign)
    for content in (b"", b"x" * 500):
        foreign.write_bytes(content)
        with pytest.raises(ValueError, match="truncated, or no index of a TensorFlow checkpoint"):
            bundle.read(foreign)


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_a_clone_without_git_lfs_has_pointers(tmp_path, suffix):
    """As one of the authors' repository, which keeps baseline_stereo-186093 so."""
    prefix = tf_writer.write(tmp_path / "baseline_stereo-186093", VARIABLES)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4db9\nsize 123160696\n"
    (tmp_path / f"baseline_stereo-186093{suffix}").write_text(pointer)
    with pytest.raises(ValueError, match="Git LFS pointer to the file; `git lfs pull` fetches it"):
        bundle.read(prefix)


# Damage.


@pytest.fixture
def copied(tmp_path):
    """A checkpoint of TensorFlow's own to be damaged: its index and its data."""
    shutil.copytree(GOLDEN_CHECKPOINTS / "tiny_m4", tmp_path / "tiny_m4")
    prefix = tmp_path / "tiny_m4" / "tiny_m4-1"
    return prefix, *(prefix.with_name(prefix.name + end) for end in SUFFIXES)


SUFFIXES = (".index", ".data-00000-of-00001")


def test_checksums_find_damaged_variables(copied):
    prefix, _, data = copied
    expected = bundle.read(prefix)
    content = bytearray(data.read_bytes())
    content[expected["global_step"].nbytes] ^= 1  # the byte after it: the first bias's
    data.write_bytes(content)
    with pytest.raises(ValueError, match="corrupt: the checksum of separator/conv1d/bias is ano"):
        bundle.read(prefix, verify=True)
    changed = bundle.read(prefix)
    different = [name for name in expected if not np.array_equal(changed[name], expected[name])]
    assert different == ["separator/conv1d/bias"]


def test_a_damaged_index_is_refused(copied):
    """Each byte; those that fill up the footer mean nothing, nor does where the metaindex is."""
    prefix, index, _ = copied
    whole, expected = index.read_bytes(), bundle.entries(prefix)
    refused = 0
    for position in range(len(whole)):
        index.write_bytes(
            bytes([*whole[:position], whole[position] ^ 0x11, *whole[position + 1 :]])
        )
        try:
            assert bundle.entries(prefix) == expected
        except ValueError:
            refused += 1
    assert refused > len(whole) - 48 - 20


def test_a_cut_index_is_refused_at_any_length(copied):
    prefix, index, _ = copied
    whole = index.read_bytes()
    for length in range(len(whole)):
        index.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated"):
            bundle.entries(prefix)


def test_a_cut_shard_is_refused_at_any_length(tmp_path):
    prefix = tf_writer.write(tmp_path / "model", VARIABLES)
    data = tmp_path / "model.data-00000-of-00001"
    whole = data.read_bytes()
    for length in range(len(whole)):
        data.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"truncated, {length} bytes long instead of 40"):
            bundle.read(prefix)


@settings(max_examples=400, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_nonsense_with_right_checksums_is_refused_or_read(tmp_path_factory, changes):
    """Nothing but ValueError, and nothing that does not fit the files."""

    def mutate(contents):
        changed = bytearray(contents)
        for position, octet in changes:
            changed[position % len(changed)] = octet
        return bytes(changed)

    folder = tmp_path_factory.mktemp("fuzz")
    prefix = tf_writer.write(folder / "model", VARIABLES, mutate=mutate)
    read, refusal = {}, None
    try:
        read = bundle.read(prefix)
    except (ValueError, FileNotFoundError) as reason:  # the latter: another number of shards
        refusal = str(reason)
    assert refusal is None or str(folder) in refusal
    assert sum(array.nbytes for array in read.values()) <= 40
