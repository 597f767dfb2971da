"""Settings: published files are accepted as they are; anything unknown, missing or illegal is named."""

from __future__ import annotations

import copy
import json
import re

import pytest
import yaml

from modules import FAMILIES, build_networks
from modules.losses import active
from settings import (
    ConfigError,
    apply_overrides,
    check_config,
    load_config,
    merge,
    read_yaml,
    resolve_base,
    schema,
)
from tests.conftest import GOLDEN, ROOT, tiny_config, training_config

PUBLISHED = json.loads((GOLDEN / "published_configs.json").read_text())
CASES = [(family, name) for family, configs in PUBLISHED.items() for name in configs]


@pytest.fixture
def config(tmp_path) -> dict:
    return training_config("fpb_fomm", tmp_path)


def changed(config: dict, path: str, value: object) -> dict:
    """A copy of ``config`` with another value at ``path``; without it for ``...``."""
    config = copy.deepcopy(config)
    *sections, key = path.split(".")
    place = config
    for section in sections:
        if place.get(section) is None:
            place[section] = {}
        place = place[section]
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return config


def write(path, config: dict) -> str:
    path.write_text(yaml.safe_dump(config))
    return str(path)


# ------------------------------------------------------------------------------------------ published files
@pytest.mark.parametrize(("family", "name"), CASES)
def test_published_configs_are_accepted_unchanged(family, name, tmp_path):
    published = PUBLISHED[family][name]
    overrides = [] if family == "fpb_fomm" else [f"model={family}"]  # the paper's files run as they are
    config = load_config(write(tmp_path / "a.yaml", published), overrides)
    assert config["model"] == family
    kept = merge(config, {key: value for key, value in published.items() if value is not None})
    assert kept == config, "a published value was changed"


@pytest.mark.parametrize("name", list(PUBLISHED["fpb_fomm"]))
def test_the_papers_files_build_the_papers_networks(name, published_shapes):
    networks = build_networks(check_config(PUBLISHED["fpb_fomm"][name]))
    expected = published_shapes("fpb")
    assert set(networks) == set(expected)
    for network, shapes in expected.items():
        state = networks[network].state_dict()
        assert {key: list(value.shape) for key, value in state.items()} == shapes


OWN = sorted(path for path in (ROOT / "config").glob("*.yaml") if path.name != "compare.yaml")


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_own_configs_are_legal_and_consistent(path):
    config = load_config(path)
    params = config["model_params"]
    assert params.get("common_params", params)["align_corners"] is True


PREFIXES = {"fpb": "fpb_fomm", "fomm": "fomm", "mraa": "mraa"}
SHARED_TRAINING = (
    "num_epochs", "num_repeats", "epoch_milestones", "batch_size", "scales", "seed", "precision", "clip_grad_norm",
)  # fmt: skip


@pytest.mark.parametrize("corpus", ["samm", "smic_hs", "casme2", "mix", "sample"])
def test_the_papers_columns_are_treated_alike(corpus):
    """One family a prefix; the same data, augmentation, schedule and seed, and the same losses but the family's own."""
    configs = {prefix: load_config(ROOT / "config" / f"{prefix}_{corpus}.yaml") for prefix in PREFIXES}
    ours = configs["fpb"]
    names = ["samm", "smic_hs", "casme2"] if corpus == "mix" else [corpus]
    for prefix, family in PREFIXES.items():
        config = configs[prefix]
        assert config["model"] == family
        roots = config["dataset_params"]["root_dir"]
        assert (roots if isinstance(roots, list) else [roots]) == [f"data/{name}" for name in names]
        assert config["dataset_params"] == ours["dataset_params"]
        for name in SHARED_TRAINING:
            assert config["train_params"][name] == ours["train_params"][name], name
        for loss in ("perceptual", "reconstruction", "deformed"):
            weights = config["train_params"]["loss_weights"]
            assert active(weights.get(loss)) == active(ours["train_params"]["loss_weights"].get(loss)), loss


def test_a_key_of_the_base_is_taken_away_by_null(config):
    config["model"] = "fomm"
    config["train_params"]["equivariance_prior"] = None
    assert "equivariance_prior" not in check_config(config)["train_params"]
    config["train_params"]["equivariance_prior"] = "warped"
    with pytest.raises(ConfigError, match="equivariance_prior is a key of model: fpb_fomm and fpb_tracked"):
        check_config(config)
    del config["train_params"]["equivariance_prior"]
    config["train_params"]["equivariance_prir"] = None
    with pytest.raises(ConfigError, match="unknown key train_params.equivariance_prir"):
        check_config(config)


@pytest.mark.parametrize(
    ("family", "files"), [("fpb_fomm", ["base"]), ("fomm", ["base"]), ("mraa", ["base", "base_mraa"])]
)
def test_base_config_explains_every_key(family, files):
    """config/base.yaml mentions each key of the paper's family, set or in a comment; base_mraa.yaml those of MRAA."""
    text = "".join((ROOT / "config" / f"{name}.yaml").read_text() for name in files)
    retired = {"use_sync_bn", "pad", "region_bg_color"}

    def names(keys: dict) -> set[str]:
        found = set(keys)
        for value in keys.values():
            if isinstance(value, dict):
                found |= names(value)
        return found

    missing = {name for name in names(schema(family)) - retired if not re.search(rf"\b{name}\b", text)}
    assert not missing


# ------------------------------------------------------------------------------------------ unknown keys
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("train_param", r"unknown key train_param\b.*Nearest known key: train_params\."),
        ("train_params.batchsize", r"unknown key train_params\.batchsize.*train_params\.batch_size"),
        ("train_params.loss_weights.perceptul", r"loss_weights\.perceptul.*loss_weights\.perceptual"),
        (
            "model_params.common_params.num_keypoints",
            r"num_keypoints.*Nearest known key: model_params\.common",
        ),
        ("model_params.generator_params.dense_motion_params.scale", r"dense_motion_params\.scale_factor"),
        (
            "dataset_params.augmentation_params.flip_param.vertical_flip",
            r"flip_param\.horizontal_flip|time_flip",
        ),
        ("dataset_params.batch_size", r"It belongs to train_params|It belongs to animate_params"),
        ("train_params.lr", r"train_params\.lr is a key of model: mraa.*model: fpb_fomm"),
        ("animate_params.mode", r"animate_params\.mode is a key of model: mraa"),
    ],
)
def test_unknown_keys_are_named_with_the_nearest(config, path, message):
    with pytest.raises(ConfigError, match=message):
        check_config(changed(config, path, 1))


def test_regions_are_written_as_text_too(config):
    checked = check_config(changed(config, "animate_params.regions", "mouth, brows"))
    assert checked["animate_params"]["regions"] == ["brows", "mouth"]


@pytest.mark.parametrize("family", ["fomm", "mraa"])
def test_regions_need_the_facial_prior(family):
    with pytest.raises(ConfigError, match="needs a model with the facial prior"):
        check_config({**tiny_config(family), "animate_params": {"regions": "mouth"}})


@pytest.mark.parametrize("model", ["fpb", "FOMM", "", None, 3])
def test_unknown_model(config, model):
    with pytest.raises(ConfigError, match=r"model: .* is unknown\. Legal are fpb_fomm, fpb_tracked, fomm, mraa"):
        check_config(changed(config, "model", model))


def test_absent_model_means_the_paper():
    config = tiny_config()
    del config["model"]
    assert check_config(config)["model"] == "fpb_fomm"


# ------------------------------------------------------------------------------------------ illegal values
ILLEGAL = {
    "dataset_params.root_dir": [3, [], [3], ""],
    "dataset_params.frame_shape": ["256", [256], [0, 256, 3], [256.0, 256, 3], [1, 2, 3, 4]],
    "dataset_params.id_sampling": ["yes", 1],
    "dataset_params.pairs_list": [3, ["a.csv"]],
    "dataset_params.keypoint_folder": [3],
    "dataset_params.frame_cache": ["folder", True],
    "dataset_params.frame_cache.folder": [None, 3],
    "dataset_params.frame_cache.gigabytes": [0, "20 GB", None],
    "dataset_params.augmentation_params": [[], 3, True],
    "dataset_params.augmentation_params.flip_param.time_flip": ["on", None],
    "dataset_params.augmentation_params.jitter_param.hue": [0.6, -0.1, "a"],
    "dataset_params.augmentation_params.crop_param.size": [64, [64], [64, 0]],
    "dataset_params.augmentation_params.resize_param.ratio": [0.9, [0.9], [0, 1]],
    "dataset_params.augmentation_params.rotation_param.degrees": ["a", [5], -5],
    "train_params.num_epochs": [0, -1, 1.5, "3", True, None, ...],
    "train_params.batch_size": [0, "4", None, ...],
    "train_params.num_repeats": [0, None],
    "train_params.epoch_milestones": [60, ["a"], [-1], None],
    "train_params.lr_generator": ["fast", -1e-4, None],
    "train_params.scales": [1, [], [0], None],
    "train_params.seed": [-1, "x", None],
    "train_params.precision": ["fp8", None, 16],
    "train_params.log_every": [0],
    "train_params.dataloader_workers": [-1, "all"],
    "train_params.clip_grad_norm": [0, "x"],
    "train_params.use_sync_bn": [True],
    "train_params.equivariance_prior": ["bent"],
    "train_params.freeze_bn_except": ["generator", [3]],
    "train_params.loss_weights": [None, {}, {"reconstruction": 0}, 10, ...],
    "train_params.loss_weights.reconstruction": ["x", -1, [1, 2]],
    "train_params.loss_weights.perceptual": [10, [10, 10], [1, 1, 1, 1, "a"]],
    "train_params.loss_weights.facial_prior": [[1, 2], "a"],
    "train_params.loss_weights.feature_matching": [10, [10, 10], [10] * 5],
    "train_params.transform_params": [..., None, 3],
    "animate_params.num_pairs": [0, "all", None],
    "animate_params.format": ["mp4", ".avi", None],
    "animate_params.fps": [0, -25, "fast"],
    "animate_params.amplify": [-1, "strong", None],
    "animate_params.output_fps": [0, 2000, "fast"],
    "animate_params.retime": [3, "", ["0:1:2"]],
    "animate_params.reference": ["apex", -1, 1.5, True],
    "animate_params.colour": ["grey", None, True],
    "animate_params.dataset_out": [3, ""],
    "animate_params.regions": ["chin", [], ["mouth", "ear"], 3, "mouth:top", [3]],
    "animate_params.normalization_params.use_relative_movement": ["yes", 1],
    "reconstruction_params.num_videos": [0],
    "visualizer_params.kp_size": [0, "big"],
    "model_params": [None, {}, ..., 3],
    "model_params.common_params.num_channels": [1, 4],
    "model_params.discriminator_params": [...],
}


@pytest.mark.parametrize("path", list(ILLEGAL))
def test_illegal_values_are_named(config, path):
    for value in ILLEGAL[path]:
        with pytest.raises(ConfigError) as caught:
            check_config(changed(config, path, value))
        assert path.rpartition(".")[2] in str(caught.value), f"{path} = {value!r}: {caught.value}"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dataset_params.frame_shape", None),
        ("dataset_params.root_dir", ["data/a", "data/b"]),
        ("dataset_params.frame_cache", {"folder": "/scratch/frames", "gigabytes": 0.5}),
        ("dataset_params.augmentation_params", None),
        ("dataset_params.augmentation_params.rotation_param.degrees", [-5, 10]),
        ("train_params.lr_kp_detector", 0),
        ("train_params.loss_weights.facial_prior", 2.5),
        ("train_params.loss_weights.facial_prior", [1, 1, 1, 1, 1]),
        ("train_params.loss_weights.perceptual", 0),
        ("train_params.use_sync_bn", False),
        ("train_params.clip_grad_norm", 1.0),
        ("animate_params.fps", 29.97),
        ("animate_params.amplify", 0),
        ("animate_params.output_fps", 29.97),
        ("animate_params.reference", "auto"),
        ("animate_params.reference", 12),
        ("animate_params.retime", "0:20:60"),
        ("animate_params.regions", None),
        ("animate_params.regions", ["brows", "mouth:left"]),
        ("animate_params.normalization_params", None),
        ("visualizer_params", None),
    ],
)
def test_legal_values_are_kept(config, path, value):
    checked = check_config(changed(config, path, value))
    if path == "visualizer_params":
        return
    place = checked
    for part in path.split("."):
        place = place[part]
    assert place == value


def test_incomplete_model_params_are_named(config):
    for path in ("common_params", "kp_detector_params", "generator_params"):
        for value in (..., None, {}):
            with pytest.raises(ValueError, match=path):
                build_networks(check_config(changed(config, f"model_params.{path}", value)))
    for path in (
        "common_params.num_kp",
        "kp_detector_params.block_expansion",
        "generator_params.max_features",
    ):
        with pytest.raises(ValueError, match=f"model_params.*{path.partition('.')[2]}"):
            build_networks(check_config(changed(config, f"model_params.{path}", ...)))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_checked_settings_are_a_fixed_point(family, tmp_path):
    """What goes into a run folder is legal, and checking it again changes nothing."""
    config = training_config(family, tmp_path)
    again = load_config(write(tmp_path / "resolved.yaml", config))
    assert again == config
    assert check_config(again) == config


# ------------------------------------------------------------------------------------------ files and --set
def test_exponents_without_a_point_are_numbers(tmp_path):
    """YAML 1.1 reads 2e-4 as a word; nobody who writes it means one."""
    (tmp_path / "a.yaml").write_text(
        "a: 2e-4\nb: 1E5\nc: -3e+2\nd: [1e-3, 2.5e-3]\ne: e-4\nf: 2e\ng: '2e-4'\n"
    )
    data = read_yaml(tmp_path / "a.yaml")
    assert data == {"a": 2e-4, "b": 1e5, "c": -300.0, "d": [1e-3, 2.5e-3], "e": "e-4", "f": "2e", "g": "2e-4"}
    assert apply_overrides({}, ["train_params.lr=3e-4"]) == {"train_params": {"lr": 3e-4}}


def test_base_files_are_inherited_section_by_section(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "root.yaml").write_text("a: {x: 1, y: [1, 2]}\nb: 5\n")
    (tmp_path / "middle.yaml").write_text("base: sub/root.yaml\na: {y: [3]}\n")
    (tmp_path / "leaf.yaml").write_text("base: middle.yaml\na: {z: 9}\nb: null\n")
    assert resolve_base(tmp_path / "leaf.yaml") == {"a": {"x": 1, "y": [3], "z": 9}, "b": None}


def test_base_that_cannot_be_had(tmp_path):
    for base, message in (("nowhere.yaml", "no such config"), ("3", "base is 3"), ("a.yaml", "itself")):
        (tmp_path / "a.yaml").write_text(f"base: {base}")
        with pytest.raises(ConfigError, match=message):
            load_config(tmp_path / "a.yaml")


def test_overrides(config, tmp_path):
    path = write(tmp_path / "a.yaml", config)
    overrides = ["train_params.batch_size=7", "dataset_params.frame_shape=[32, 48, 3]", "train_params.seed=1"]
    overrides += [
        "dataset_params.pairs_list=null",
        "train_params.loss_weights.deformed=0.5",
        "train_params.seed=2",
    ]
    changes = load_config(path, overrides)
    assert changes["train_params"]["batch_size"] == 7
    assert changes["dataset_params"]["frame_shape"] == [32, 48, 3]
    assert changes["train_params"]["loss_weights"]["deformed"] == 0.5
    assert changes["train_params"]["seed"] == 2, "the last one counts"
    assert changes["train_params"]["loss_weights"]["reconstruction"] == 10, "the others are kept"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train_params.batch_size", r"expected section\.key=value"),
        ("=3", r"expected section\.key=value"),
        ("train_params.batch_size=[", "not valid YAML"),
        ("train_params.batchsize=3", r"Nearest known key: train_params\.batch_size"),
        ("train_params=3", "train_params should be a section with num_epochs"),
        ("train_params.batch_size.x=3", r"train_params\.batch_size is \{'x': 3\}"),
    ],
)
def test_illegal_overrides(config, tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path / "a.yaml", config), [override])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"", "should hold sections"),
        (b"- 1\n- 2\n", "should hold sections"),
        (b"a: !!python/object/apply:os.system ['touch pwned']", "not valid YAML"),
    ],
)
def test_broken_files(tmp_path, content, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "a.yaml")
    assert not (tmp_path / "pwned").exists()


def test_missing_file_names_the_nearest(tmp_path):
    for name in ("your_dataset_train.yaml", "sample.yaml"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"no such config: .*Did you mean .*your_dataset_train\.yaml"):
        load_config(tmp_path / "your_datset_train.yaml")
    with pytest.raises(ConfigError, match=r"no such config: .*Configs there: .*sample\.yaml"):
        load_config(tmp_path)


LAUGHS = ["a: &a [1, 1]"]
LAUGHS += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdef", "bcdefg", strict=True)]
SELVES = {"list": "a: &a [*a]", "section": "a: &a {b: *a}", "depth": "[" * 1500, "laughs": "\n".join(LAUGHS)}


@pytest.mark.parametrize("text", SELVES.values(), ids=SELVES)
def test_files_without_an_end(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.yaml nests too deeply, or links to itself"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["a: 2001-99-99", f"a: {'9' * 5000}", "a: \x00", "? [1]\n: 2"])
def test_values_that_are_none(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.yaml is not valid YAML") as caught:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["1e400", ".nan", "99999999999999999999", "-1", f"{'9' * 400}", "{}"])
@pytest.mark.parametrize(
    "key",
    ["train_params.batch_size", "train_params.seed", "dataset_params.frame_shape",
     "model_params.kp_detector_params.max_features"],
)  # fmt: skip
def test_numbers_beyond_all_bounds(key, value):
    """Are refused by the rules, or, of networks, as these are built."""
    value = f"[64, {value}, 3]" if "shape" in key else value
    with pytest.raises(ValueError, match=key.rpartition(".")[2]):
        build_networks(load_config(ROOT / "config" / "base.yaml", [f"{key}={value}"]))
