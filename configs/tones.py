"""Notes by pitch and timbre, learned in minutes on a CPU: plucked strings, chords and chirps.

    python train.py --config tones
    python sample.py --workdir runs/tones --label "A4 pluck" --out notes.wav
    python evaluate.py --workdir runs/tones --metrics pitch

Half a second at 4,000 samples a second, synthesised on the spot, in 36 classes. The network hears
32 samples at once and halves time twice below that, so that its attention joins the whole note.
v-prediction on the cosine schedule; labels dropped one time in ten, for classifier-free guidance.

`unconditional` is told nothing. `vocoder` is told a note's spectrogram instead of its class, and
makes the waveform that belongs to it, with the dilated layers of DiffWave:

    python train.py --config tones:vocoder
    python sample.py --workdir runs/tones_vocoder --spectrogram note.wav --out again.wav
"""

from diffax.conditioning import Labels, Nothing, Spectrogram
from diffax.data import Tones
from diffax.evaluation import Evaluation, PitchAccuracy
from diffax.generation import Sampling
from diffax.losses import Stratified
from diffax.models import DiffWave, UNet1D
from diffax.objectives import Denoising
from diffax.parameterization import V
from diffax.schedules import Cosine
from diffax.solvers import DDIM
from diffax.training import Config, EMAConfig, Optimizer, TrainConfig, unknown_variant
from diffax.training import Cosine as CosineDecay

VARIANTS = ("", "unconditional", "vocoder", "debug", "vocoder_debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, vocoder = variant.endswith("debug"), variant.startswith("vocoder")
    labels = variant in ("", "debug")
    if vocoder:
        network = DiffWave(channels=8 if debug else 48, layers=4 if debug else 12, cycle=6, patch=8)
        conditioner = Spectrogram(bands=8 if debug else 32)
    else:
        sizes = dict(channels=8, multipliers=(1, 2)) if debug else {}
        network = UNet1D(patch=8 if debug else 32, **sizes)
        conditioner = Labels(dropout=0.1) if labels else Nothing()
    return Config(
        data=Tones(num=72, length=512, labels=labels) if debug else Tones(labels=labels),
        objective=Denoising(
            network=network,
            schedule=Cosine(num_steps=1000),
            parameterization=V(),
            times=Stratified(),
            conditioner=conditioner,
        ),
        optimizer=Optimizer(
            learning_rate=1e-3, warmup_steps=2 if debug else 100, decay=CosineDecay()
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.995,)),
        train=TrainConfig(
            steps=8 if debug else 3500,
            batch_size=8 if debug else 32,
            steps_per_call=2 if debug else 10,
            quick=debug,
            log_every=2 if debug else 50,
            save_every=4 if debug else 500,
            sample_every=4 if debug else 1000,
        ),
        sample=Sampling(
            solver=DDIM(eta=0.0),
            steps=4 if debug else 50,
            num=4 if debug else 36,
            clip=None,
            batch_size=180,
            quick=debug,
        ),
        evaluation=Evaluation(metrics=(PitchAccuracy(),) if labels else ()),
    )
