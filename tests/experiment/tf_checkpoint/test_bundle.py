"""Tests of `tf_checkpoint.bundle`: checkpoints are read bit-exactly or rejected."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asteroid_waveunet.experiment.tf_checkpoint import bundle
from asteroid_waveunet.experiment.tf_checkpoint.crc32c import crc32c
from helpers import tf_writer
from helpers.paths import GOLDEN

GOLDEN_CHECKPOINTS = GOLDEN / "checkpoints"
VARIABLES = {
    "global_step": np.int64(7),
    "separator/conv1d/bias": np.array([0.5, -1.5], np.float32),
    "separator/conv1d/kernel": np.arange(6, dtype=np.float32).reshape(1, 3, 2),
}


def assert_same(read, expected):
    """Equal to the bit, and in native byte order."""
    assert read.keys() == expected.keys()
    for name, array in expected.items():
        assert read[name].dtype == np.asarray(array).dtype
        assert read[name].shape == np.asarray(array).shape
        assert read[name].tobytes() == np.asarray(array).tobytes(), name


@pytest.mark.parametrize("name", ["tiny_m4", "tiny_m5"])
def test_tensorflow_checkpoints_are_read_bit_exactly(name):
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


@settings(max_examples=40, deadline=None)
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
def test_written_checkpoints_are_read_bit_exactly(tmp_path_factory, variables, **options):
    prefix = tf_writer.write(tmp_path_factory.mktemp("c") / "model.v1-3", variables, **options)
    assert_same(bundle.read(prefix, verify=True), variables)


def test_crc32c_equals_a_loop_over_bytes():
    for size in (0, 1, 3, 4, 5, 31, 4096, 2**18 + 4, 3 * 2**17 + 7):
        octets = np.random.default_rng(size).integers(0, 256, size, np.uint8)
        assert crc32c(octets) == tf_writer.crc32c(octets.tobytes()), size


# Locating a checkpoint.


def test_checkpoint_is_found_by_any_of_its_files(tmp_path):
    prefix = tf_writer.write(tmp_path / "full.1-93", VARIABLES, shards=2)
    for suffix in ("", ".index", ".data-00000-of-00002", ".meta"):
        assert bundle.locate(f"{prefix}{suffix}") == prefix
        assert_same(bundle.read(f"{prefix}{suffix}"), VARIABLES)


def test_newest_checkpoint_of_a_folder_is_found(tmp_path):
    first = tf_writer.write(tmp_path / "model-9", VARIABLES)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "elsewhere"\n')
    assert bundle.locate(tmp_path) == first
    second = tf_writer.write(tmp_path / "model-10", VARIABLES)
    with pytest.raises(ValueError, match="several checkpoints.*model-10, model-9"):
        bundle.locate(tmp_path)
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "/home/of the/author/model-10"\n'
        'all_model_checkpoint_paths: "/home/of the/author/model-9"\n'
    )
    assert bundle.locate(tmp_path) == second


def test_missing_files_are_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model-3\.index does not exist"):
        bundle.read(tmp_path / "model-3")
    with pytest.raises(FileNotFoundError, match=r"no TensorFlow checkpoint \(\*\.index\)"):
        bundle.read(tmp_path)
    prefix = tf_writer.write(tmp_path / "model-3", VARIABLES, shards=2)
    (tmp_path / "model-3.data-00001-of-00002").unlink()
    with pytest.raises(FileNotFoundError, match="data-00001-of-00002, a file of the checkpoint"):
        bundle.read(prefix)
    (tmp_path / "model-3.index").unlink()
    with pytest.raises(FileNotFoundError, match=r"needs model-3\.index"):
        bundle.read(tmp_path / "model-3.data-00000-of-00002")


def test_only_selected_variables_are_read(tmp_path):
    prefix = tf_writer.write(tmp_path / "model", VARIABLES, shards=3)
    (tmp_path / "model.data-00000-of-00003").unlink()
    selected = {name: array for name, array in VARIABLES.items() if name.endswith("bias")}
    assert_same(bundle.read(prefix, select=selected.__contains__), selected)
    assert bundle.entries(prefix).keys() == VARIABLES.keys()


# Invalid checkpoints.


def entry_with(name, **changes):
    """Change fields of a variable's entry, named as in `index_table.Entry`."""
    numbers = {"dtype": 1, "shape": 2, "shard": 3, "offset": 4, "size": 5, "sliced": 7}

    def edit(written, entry):
        if written.endswith(name):
            entry.update({numbers[field]: value for field, value in changes.items()})

    return edit


INVALID = {
    "compressed (Snappy)": dict(compression=1),
    "compressed (type 7)": dict(compression=7),
    "version is 0": dict(version=b""),
    "version is 2 and needs a reader of version 0": dict(version=tf_writer.field(1, 2)),
    "version is 1 and needs a reader of version 2; expected version 1": dict(
        version=tf_writer.field(1, 1) + tf_writer.field(2, 2)
    ),
    "conv1d/bias is saved in slices": dict(edit=entry_with("bias", sliced=b"")),
    "conv1d/bias has TensorFlow's dtype 7; expected float32": dict(
        edit=entry_with("bias", dtype=7)
    ),
    "conv1d/bias has 8 bytes, but float32 (3,) needs 12": dict(
        edit=entry_with("bias", shape=tf_writer.shape((3,)))
    ),
    "conv1d/bias is in shard 1, but there are only 1": dict(edit=entry_with("bias", shard=1)),
    "a size is negative": dict(edit=entry_with("bias", shape=tf_writer.shape((0, 2**64 - 1)))),
    "field 4 is not a number": dict(edit=entry_with("bias", offset=b"a")),
    "field 2 is not a message": dict(edit=entry_with("bias", shape=3)),
    "truncated: it has 40 bytes, expected 108": dict(edit=entry_with("bias", offset=100)),
}


def test_invalid_checkpoints_are_rejected_with_file_and_reason(tmp_path):
    for reason, options in INVALID.items():
        prefix = tf_writer.write(tmp_path / "model", VARIABLES, **options)
        with pytest.raises(ValueError, match=re.escape(reason)) as error:
            bundle.read(prefix)
        assert str(prefix) in str(error.value), reason


def test_overlapping_variables_are_rejected(tmp_path):
    """Many entries with the same bytes could request any amount of memory."""
    variables = {f"v{i}": np.ones(50, np.float32) for i in range(9)}

    def move_to_start(name, entry):
        entry[4] = 0

    prefix = tf_writer.write(tmp_path / "model", variables, edit=move_to_start)
    data = tmp_path / "model.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:200])
    with pytest.raises(ValueError, match="variables overlap"):
        bundle.read(prefix)


def test_other_files_are_rejected(tmp_path):
    v1 = tmp_path / "model.ckpt"
    v1.write_bytes(tf_writer.table([(b"", b"")]))
    with pytest.raises(ValueError, match=r"model\.ckpt is not .* older format V1"):
        bundle.read(v1)
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF")
    with pytest.raises(ValueError, match=r"expected a file \.index and files \.data-"):
        bundle.read(tmp_path / "weights.h5")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match="empty is not a TensorFlow V2 checkpoint"):
        bundle.read(tmp_path / "empty")
    foreign = tmp_path / "foreign.index"
    foreign.write_bytes(tf_writer.table([(b"key", b"value")]))
    with pytest.raises(ValueError, match="lacks the header"):
        bundle.read(foreign)
    foreign.write_bytes(tf_writer.table([(b"", b""), (b"", b"")]))
    with pytest.raises(ValueError, match="the name b'' occurs twice"):
        bundle.read(foreign)
    for content in (b"", b"x" * 500):
        foreign.write_bytes(content)
        with pytest.raises(ValueError, match="truncated or not the index"):
            bundle.read(foreign)


def test_git_lfs_pointers_are_reported(tmp_path):
    """The authors' repository stores baseline_stereo-186093 with Git LFS."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4db9\nsize 123160696\n"
    for suffix in SUFFIXES:
        prefix = tf_writer.write(tmp_path / "baseline_stereo-186093", VARIABLES)
        (tmp_path / f"baseline_stereo-186093{suffix}").write_text(pointer)
        with pytest.raises(ValueError, match="Git LFS pointer.*`git lfs pull`"):
            bundle.read(prefix)


# Damage.


@pytest.fixture
def checkpoint_copy(tmp_path):
    """Copy a checkpoint written by TensorFlow; return its prefix, index and data file."""
    shutil.copytree(GOLDEN_CHECKPOINTS / "tiny_m4", tmp_path / "tiny_m4")
    prefix = tmp_path / "tiny_m4" / "tiny_m4-1"
    return prefix, *(prefix.with_name(prefix.name + end) for end in SUFFIXES)


SUFFIXES = (".index", ".data-00000-of-00001")


def test_checksums_detect_damaged_variables(checkpoint_copy):
    prefix, _, data = checkpoint_copy
    expected = bundle.read(prefix)
    content = bytearray(data.read_bytes())
    content[expected["global_step"].nbytes] ^= 1  # the byte after it: the first bias's
    data.write_bytes(content)
    with pytest.raises(ValueError, match="corrupt: the checksum of separator/conv1d/bias"):
        bundle.read(prefix, verify=True)
    changed = bundle.read(prefix)
    different = [name for name in expected if not np.array_equal(changed[name], expected[name])]
    assert different == ["separator/conv1d/bias"]


def test_damaged_index_is_rejected_or_unchanged(checkpoint_copy):
    """Damages each byte; footer padding and the position of the metaindex are not used."""
    prefix, index, _ = checkpoint_copy
    whole, expected = index.read_bytes(), bundle.entries(prefix)
    rejected = 0
    for position in range(len(whole)):
        index.write_bytes(
            bytes([*whole[:position], whole[position] ^ 0x11, *whole[position + 1 :]])
        )
        try:
            assert bundle.entries(prefix) == expected
        except ValueError:
            rejected += 1
    assert rejected > len(whole) - 48 - 20


def test_truncated_index_is_rejected_at_any_length(checkpoint_copy):
    prefix, index, _ = checkpoint_copy
    whole = index.read_bytes()
    for length in range(len(whole)):
        index.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated"):
            bundle.entries(prefix)


def test_truncated_shard_is_rejected_at_any_length(tmp_path):
    prefix = tf_writer.write(tmp_path / "model", VARIABLES)
    data = tmp_path / "model.data-00000-of-00001"
    whole = data.read_bytes()
    for length in range(len(whole)):
        data.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"truncated.* {length} bytes, expected 40"):
            bundle.read(prefix)


@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_random_blocks_with_valid_checksums_never_crash(tmp_path_factory, changes):
    """They raise ValueError only, and never return more than the files hold."""

    def mutate(contents):
        changed = bytearray(contents)
        for position, octet in changes:
            changed[position % len(changed)] = octet
        return bytes(changed)

    folder = tmp_path_factory.mktemp("fuzz")
    prefix = tf_writer.write(folder / "model", VARIABLES, mutate=mutate)
    arrays_read, error = {}, None
    try:
        arrays_read = bundle.read(prefix)
    except (ValueError, FileNotFoundError) as reason:  # the latter if the number of shards changed
        error = str(reason)
    assert error is None or str(folder) in error
    assert sum(array.nbytes for array in arrays_read.values()) <= 40
