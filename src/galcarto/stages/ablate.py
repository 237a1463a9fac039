"""Train a small network with a variant's settings and score it on the region's test examples and observed sky.

Example:
  galcarto ablate --settings "$(galcarto settings config/orion.yaml ablate)" --seed 1 --variant full --title nothing \\
      --control control.json --stars l208.000_b-20.000.parquet --test cmds/test/*.nc --sky cmds.nc \\
      --maps tau353.fits radiance.fits --output full.json
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import Section, read
from galcarto.core.sky import Tiles, sightline_position
from galcarto.dust import profiles as prior
from galcarto.dustmap import examples
from galcarto.dustmap.compare import heldout, planck, structure
from galcarto.dustmap.diagrams.files import references
from galcarto.dustmap.infer import infer
from galcarto.dustmap.instrument import corrections, forward_model, integrators
from galcarto.dustmap.settings import (
    CHUNK,
    Ablation,
    BackgroundGalaxies,
    Compare,
    Distance,
    Dust,
    GalaxySettings,
    Inference,
    Network,
    ProfileSettings,
    Realism,
    Sky,
    SurveySettings,
    Tile,
    Training,
)
from galcarto.learning.data import surveys as owners
from galcarto.learning.trained import Trained
from galcarto.learning.training import learn
from galcarto.maps import cube

HELD_OUT = ("median_relative_error", "bias_mag", "rmse_mag", "coverage_68", "coverage_95", "valid_share", "n")


class Settings(Section):
    galaxy: GalaxySettings
    surveys: list[SurveySettings]
    pixels: int
    dust: Dust
    distance: Distance
    tile: Tile
    realism: Realism
    galaxies: BackgroundGalaxies
    sky: Sky
    profiles: ProfileSettings
    network: Network
    training: Training
    ablation: Ablation
    inference: Inference
    compare: Compare


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "control", settings=Settings)
    parser.add_argument("--variant", required=True, help="name of the variant, for the table")
    parser.add_argument("--title", required=True, help="what the variant leaves out, for the table")
    parser.add_argument("--stars", required=True, nargs="+", help="bare stars of the training sightlines (Parquet)")
    parser.add_argument("--test", required=True, nargs="+", help="test examples of the region (netCDF)")
    parser.add_argument("--sky", required=True, help="images of the tiles (netCDF)")
    parser.add_argument("--references", nargs="*", default=[], help="references of the strips, if not the sky's own")
    parser.add_argument("--maps", nargs="*", default=[], help="HEALPix maps, in the order of compare.planck (FITS)")
    parser.add_argument("--output", required=True, type=Output, help="JSON file to write")


def run(args: argparse.Namespace) -> None:
    """Render, train, calibrate and score; all but the scores lies in a temporary folder."""
    found = dict(read(args.settings, Settings))
    compare, ablation = found["compare"], found["ablation"]
    if len(args.maps) != len(compare.planck):
        raise UserError(
            f"--maps: found {len(args.maps)} maps; expected the {len(compare.planck)} of compare.planck, in its order"
        )
    images = _sky(args.sky, args.references)
    tiles = found["sky"].grid(found["tile"].size)
    if len(images["l"]) != tiles.area().size:
        raise UserError(f"--sky: found {len(images['l'])} tiles; expected {tiles.area().size} from sky and tile")
    chosen = {name: found[name] for name in examples.SECTIONS}
    control = corrections(args.control)
    training = found["training"].model_copy(update={"epochs": ablation.epochs, "devices": 1})
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, list[Path]] = {"train": [], "valid": []}
        for split, written in files.items():
            number = getattr(ablation, split)
            rng = generator(args.seed, "draw_profiles", split)
            for stars in args.stars:
                written.append(Path(folder) / split / Path(stars).with_suffix(".nc").name)
                written[-1].parent.mkdir(exist_ok=True)
                profiles = _profiles(rng, number, found)
                examples.render(written[-1], stars, profiles, control, {}, split=split, seed=args.seed, **chosen)
        trained, history = learn(
            files["train"],
            files["valid"],
            Path(folder) / "checkpoints",
            edges=found["distance"].edges(),
            support=found["profiles"].support(found["distance"].step),
            seed=args.seed,
            **found["network"].model_dump(),
            **training.model_dump(),
            workers=0,
        )
    result: dict[str, Any] = {
        "variant": args.variant,
        "title": args.title,
        "training": {
            "examples": history[-1]["examples"],
            "valid_loss": min(row["valid_loss"] for row in history),
        },
        "heldout": _held_out(args.test, trained, found, control, args.seed),
    }
    result |= _observed(trained, images, tiles, args.maps, found, args.seed)
    inputs = [*args.stars, *args.test, args.sky, *args.references, *args.maps]
    inputs += [args.control] if args.control else []
    result["provenance"] = provenance.attributes("ablate", json.loads(args.settings), args.seed, inputs)
    with open(args.output, "w") as handle:
        json.dump(_known(result), handle, indent=2)
        handle.write("\n")


def _sky(path: str, strips: list[str]) -> xr.Dataset:
    """The observed tiles, beside other references where the variant has its own."""
    with xr.open_dataset(path) as file:
        images = file.load()
    if not strips:
        return images
    other = xr.concat([xr.load_dataset(strip) for strip in strips], dim="tile", combine_attrs="drop")
    if other["reference"].shape != images["reference"].shape:
        raise UserError(
            f"--references: found diagrams of shape {other['reference'].shape}; expected those of the sky, "
            f"{images['reference'].shape}: name every strip once, in order"
        )
    return images.assign(reference=other["reference"], detectable=other["detectable"])


def _profiles(rng: np.random.Generator, number: int, found: dict[str, Any]) -> Iterator[np.ndarray]:
    """Profiles of the prior, a chunk at a time."""
    edges, settings = found["distance"].edges(), found["profiles"].model_dump()
    for start in tqdm(range(0, number, CHUNK), desc="rendering", unit="chunk", mininterval=5):
        size = min(CHUNK, number - start)
        # in single precision, as in the files of the region's own examples
        yield prior.draw(rng, size, edges, **settings).astype(np.float32)


def _held_out(
    paths: list[str], trained: Trained, found: dict[str, Any], control: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Scores on the region's test examples, beside the reference that the variant would have of them."""
    inference: Inference = found["inference"]
    model = forward_model(found["surveys"], found["pixels"], found["dust"], trained.edges, control)
    bare = integrators(model, found["galaxy"], found["surveys"], control)
    draws = torch.Generator().manual_seed(seed)
    answers, truths = [], []
    for path in paths:
        reference, detectable = references(model, bare, *sightline_position(Path(path).stem))
        with netCDF4.Dataset(path) as file:
            if file["counts"].shape[1:] != reference.shape or file["extinction"].shape[1] != len(trained.edges) - 1:
                raise UserError(
                    f"{path}: found diagrams of shape {file['counts'].shape[1:]} and {file['extinction'].shape[1]} "
                    f"distances; expected {reference.shape} and {len(trained.edges) - 1}: render it again"
                )
            answer = heldout.sample(
                trained,
                np.asarray(file["counts"][:]),
                reference,
                detectable,
                np.asarray(file["area"][:]),
                np.asarray(file["present"][:]),
                owners(file),
                samples=inference.samples,
                min_stars=inference.min_stars,
                generator=draws,
            )
            truths.append(np.asarray(file["extinction"][:]))
        answers.append(answer)
    drawn, valid = (np.concatenate(part) for part in zip(*answers, strict=True))
    _, metrics = heldout.evaluate(drawn, np.concatenate(truths), valid, trained.edges)
    return {name: metrics[name] for name in HELD_OUT}


def _observed(
    trained: Trained, images: xr.Dataset, tiles: Tiles, maps: list[str], found: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Scores on the observed sky: those of compare_planck and compare_structure."""
    inference: Inference = found["inference"]
    compare: Compare = found["compare"]
    fraction = found["tile"].min_area_fraction
    posterior = infer(trained, images, min_area_fraction=fraction, samples=inference.samples, seed=seed)
    samples = posterior["extinction_samples"].to_numpy()
    _, far = cube.reach(
        posterior["stars_beyond"].to_numpy(), posterior["contraction"].to_numpy(), trained.edges, inference.min_stars
    )
    far = np.where(np.isnan(samples[:, 0, 0]), np.nan, far)
    mean = samples.mean(axis=1, dtype=float)
    ours = planck.total(mean, far, trained.edges, compare.distance).reshape(tiles.shape)
    strange = float(np.nanmedian(posterior["out_of_distribution"].to_numpy())) if np.isfinite(far).any() else None
    result: dict[str, Any] = {"sky": {"median_out_of_distribution": strange}, "planck": {}}
    for entry, path in zip(compare.planck, maps, strict=True):
        sphere = planck.read(path, entry.ordering, entry.column, entry.hdu)
        means = planck.tile_means(sphere, tiles, entry.frame)
        theirs = planck.to_extinction(means, entry.quantity, found["dust"].r_v)
        used, result["planck"][entry.name] = planck.against(ours, theirs, entry.ceiling, entry.line_below)
        if compare.structure is not None and compare.structure.map == entry.name:
            asked = compare.structure
            dense = used & (theirs > asked.above)
            result["distance"], _ = structure.measure(
                np.moveaxis(samples[dense.ravel()], 1, 0),
                trained.edges,
                tiles.l[np.nonzero(dense)[0]],
                total=asked.total,
                window=asked.window,
                foreground=asked.foreground,
                far=asked.far,
            )
    return result


def _known(value: Any) -> Any:
    """The same with null for numbers that are none, which JSON has not."""
    if isinstance(value, dict):
        return {name: _known(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
