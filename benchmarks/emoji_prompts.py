"""Does a text-to-image run make what its prompts name? Two judges that know nothing of the model.

    python benchmarks/emoji_prompts.py --workdir runs/emoji --data EMOJI --out benchmarks/results

Every prompt names a colour and a simple object. The first judge names the colour of what is not
background: the nearest of eight fixed colours to its median, in CIELAB. The second looks for the
nearest emoji in pixel space among all that the run was trained on: does its caption name the
object? Chance is the same judges' verdict on the same images with the prompts dealt out anew, 200
times; and what the judges say of real emoji with these names tells how good they are. Leaves
emoji_prompts.json and emoji_prompts.png, two prompts a row.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from diffax import plotting
from diffax.generation import generate
from diffax.image_range import to_uint8
from diffax.training import open_run

COLOURS = {
    "red": (221, 46, 68),
    "orange": (244, 144, 12),
    "yellow": (253, 203, 88),
    "green": (96, 160, 60),
    "blue": (50, 140, 225),
    "purple": (160, 85, 200),
    "brown": (140, 90, 65),
    "black": (60, 60, 60),
}
HEARTS = [f"{colour} heart" for colour in COLOURS]
CIRCLES = [f"{colour} circle" for colour in COLOURS]
SQUARES = [f"{c} square" for c in ("red", "orange", "yellow", "green", "blue", "purple", "brown")]
OTHERS = ["red apple", "green apple", "blue book", "green book", "orange book", "black cat"]
SEEN = [*HEARTS, *CIRCLES, *SQUARES, *OTHERS]
UNSEEN = ["purple apple", "blue apple", "red book", "purple book", "yellow book", "black apple"]


def main() -> None:
    """Draws, judges and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--data", required=True, help="the folder of emoji")
    parser.add_argument("--out", default=".", type=Path)
    parser.add_argument("--num", type=int, default=4, help="images a prompt")
    flags = parser.parse_args()
    run = open_run(flags.workdir)
    model = run.model_to_sample()
    prompts = SEEN + UNSEEN
    images = to_uint8(np.asarray(generate(model, prompt=prompts, num=flags.num, seed=0).data))
    told = [prompt for prompt in prompts for _ in range(flags.num)]
    real = known(run, flags.data)
    figures = {
        "model": {"step": run.step, "average": run.average, "guidance": model.settings.guidance},
        "images a prompt": flags.num,
        "known emoji": len(real["x"]),
    }
    for name, chosen in (("seen", SEEN), ("unseen", UNSEEN)):
        rows = [i for i, prompt in enumerate(told) if prompt in chosen]
        figures[name] = judged(images[rows], [told[i] for i in rows], real)
        figures[name]["prompts"] = chosen
    mine = [i for i, text in enumerate(real["caption"]) if text in SEEN]
    colours = [colour_of(real["x"][i]) == real["caption"][i].split()[0] for i in mine]
    figures["real emoji with these names"] = {"count": len(mine), "colour": float(np.mean(colours))}
    flags.out.mkdir(parents=True, exist_ok=True)
    (flags.out / "emoji_prompts.json").write_text(json.dumps(figures, indent=2) + "\n")
    grid = plotting.image_grid(images, columns=2 * flags.num, min_width=1)
    plotting.save_image(flags.out / "emoji_prompts.png", grid)
    print(json.dumps(figures, indent=2))


def known(run, folder: str) -> dict:
    """The emoji that the run was trained on, with their captions."""
    return dataclasses.replace(run.config.data, dir=folder).load().arrays()


def judged(images, prompts, real, deals: int = 200) -> dict:
    """How often each judge agrees with the prompts, and with prompts dealt out anew."""
    colours = [colour_of(image) for image in images]
    nearest = [real["caption"][i] for i in nearest_rows(images, real["x"])]
    verdicts = {
        "colour": lambda prompt, i: prompt.split()[0] == colours[i],
        "object": lambda prompt, i: prompt.split()[1] in nearest[i].split(),
        "both": lambda prompt, i: (
            prompt.split()[0] == colours[i] and prompt.split()[1] in nearest[i].split()
        ),
    }
    rng = np.random.default_rng(0)
    anew = [rng.permutation(len(prompts)) for _ in range(deals)]
    found = {"images": len(images)}
    for name, agrees in verdicts.items():
        right = np.mean([agrees(prompt, i) for i, prompt in enumerate(prompts)])
        chance = [np.mean([agrees(prompts[j], i) for i, j in enumerate(deal)]) for deal in anew]
        found[name] = round(float(right), 4)
        found[f"{name} by chance"] = round(float(np.mean(chance)), 4)
        found[f"{name} by chance, at most"] = round(float(np.max(chance)), 4)
    return found


def colour_of(image: np.ndarray) -> str:
    """The name of the median colour of what is not white."""
    pixels = image.reshape(-1, 3)
    shown = pixels[(255 - pixels.astype(int)).max(axis=1) > 60]
    middle = np.median(shown, axis=0) if len(shown) else np.array([255.0, 255, 255])
    names = list(COLOURS)
    distance = np.linalg.norm(lab(np.array(list(COLOURS.values()))) - lab(middle[None]), axis=1)
    return names[int(distance.argmin())]


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of sRGB levels `[N, 3]`, 0 to 255."""
    c = np.asarray(rgb, np.float64) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(matrix).T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def nearest_rows(images: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For each image, which of the known ones is nearest in pixel space."""
    a, b = (x.reshape(len(x), -1).astype(np.float32) for x in (images, known))
    return ((b**2).sum(1)[None] - 2 * a @ b.T).argmin(axis=1)


if __name__ == "__main__":
    main()
