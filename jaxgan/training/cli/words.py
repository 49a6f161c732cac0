"""What options are called elsewhere, so that who types such a name is told ours."""

from collections.abc import Sequence

from jaxgan.nearest import perhaps
from jaxgan.training.cli.arguments import Argument, sentence

__all__ = ["meant"]

# By our name; where a word stands at several, the first of these that a program has is the one.
ELSEWHERE = {
    "learning-rate": "lr lrate rate alpha step-size base-lr",
    "generator-learning-rate": "lr-g lrg lr-gen g-lr generator-lr gen-lr glr",
    "discriminator-learning-rate": "lr-d lrd lr-disc d-lr discriminator-lr disc-lr critic-lr dlr",
    "steps": "epochs epoch num-epochs n-epochs nepochs max-epochs e iterations iters iter num-iterations n-iter niter "
    "max-iter max-iters max-steps num-steps n-steps num-train-steps train-steps total-steps training-steps updates "
    "kimg duration",
    "rounds": "repeats repeat repetitions runs iterations",
    "batch-size": "batch bs b batchsize minibatch mini-batch mbs train-batch-size",
    "devices": "gpu gpus cuda device num-gpus n-gpus n-gpu ngpu gpu-id gpu-ids tpu cpu no-cuda use-cuda use-gpu mps "
    "accelerator num-devices n-devices platform backend world-size multi-gpu",
    "coordinator": "distributed ddp nodes rank master-addr master-address init-method",
    "step": "checkpoint ckpt snapshot resume-step iteration",
    "out": "output o outfile out-file output-file outdir out-dir output-dir outf save save-to file filename path dest "
    "grid image picture plot png gif npz json csv",
    "workdir": "out-dir outdir output output-dir o out outf save-dir save-path savedir logdir log-dir run-dir rundir "
    "dir directory results results-dir experiment-dir name exp-name run-name resume continue restore "
    "load auto-resume last resume-from checkpoint-dir ckpt-dir model-dir",
    "from": "init-from pretrained checkpoint ckpt load-from finetune fine-tune transfer weights warm-start",
    "dataset": "data dataroot data-root data-path dataset-path datapath train-data train-dir set input input-dir "
    "source image-dir images-dir image-folder folder path root csv npz ds dataset-name",
    "data-dir": "tfds-dir tfds-data-dir data-folder datadir",
    "generated": "fake fakes samples input path folder images",
    "reference": "real reals ref target dataset",
    "image-size": "size img-size imsize imagesize image-sz resolution res crop-size resize height width",
    "load-size": "random-crop crop scale-size",
    "channels": "nc n-channels num-channels image-channels gray grey grayscale greyscale color colour rgb c",
    "count": "num-samples n-samples nsamples samples num n number num-images n-images num-fid-samples how-many k",
    "eval-count": "num-samples n-samples nsamples samples num n number num-images n-images eval-samples fid-samples",
    "weights": "ema use-ema raw no-ema averaged",
    "ema-half-life": "ema ema-decay ema-beta ema-rate ema-kimg moving-average polyak averaging use-ema no-ema",
    "power-ema": "ema-stds ema-widths posthoc-ema post-hoc-ema ema-sigma sigma-rel",
    "label": "class classes class-idx class-label y digit labels condition",
    "classes": "class label labels only digits num-classes n-classes",
    "latent-size": "z nz z-dim zdim dim-z latent latents latent-dim latentdim noise-dim noise-size z-size nz-dim",
    "features": "ngf nf width filters fmaps base-channels channel-multiplier ch hidden hidden-size num-filters ndf dim",
    "discriminator-features": "ndf df-dim d-features",
    "width": "hidden hidden-size hidden-dim units layer-size features ngf ndf nh dim neurons",
    "optimizer": "opt optim optimiser adam sgd rmsprop",
    "beta1": "b1 beta-1 adam-beta1 beta betas adam-betas",
    "beta2": "b2 beta-2 adam-beta2",
    "momentum": "m mom nesterov",
    "weight-decay": "wd decay l2-reg regularization",
    "clip-gradient-norm": "clip grad-clip gradient-clip clip-grad clip-grad-norm max-grad-norm clip-norm gradient-norm",
    "accumulate": "accum grad-accum gradient-accumulation accumulation-steps grad-accumulation grad-accumulation-steps "
    "gradient-accumulation-steps virtual-batch batch-gpu",
    "schedule": "lr-schedule scheduler lr-scheduler lr-decay lr-policy annealing cosine",
    "warmup-images": "warmup warmup-steps lr-warmup warm-up",
    "critic-steps": "n-critic ncritic critic critic-iters critic-iterations d-steps num-critic diters n-dis d-iters",
    "penalty": "gp lambda lambda-gp gp-weight gradient-penalty gp-lambda",
    "seed": "random-seed manual-seed manualseed rng rng-seed s",
    "seeds": "num-seeds n-seeds repeats",
    "dtype": "fp16 bf16 amp half mixed-precision precision float16 bfloat16 float32 fp32 use-amp tf32",
    "deterministic": "reproducible cudnn-deterministic benchmark",
    "workers": "num-workers n-workers nworkers j threads num-threads jobs",
    "checkpoint-every": "save-every save-interval checkpoint-interval checkpoint-freq save-freq snap ckpt-every "
    "snapshot-every save-steps checkpoint-steps",
    "sample-every": "sample-interval log-every log-interval log-freq vis-every image-every picture-every plot-every "
    "print-every print-freq display-freq",
    "log": "wandb use-wandb trackio tracker track report-to logger log-to logging tensorboard tb",
    "eval-every": "eval-interval eval-freq fid-every metrics-every validate-every evaluate-every eval-steps",
    "metrics": "fid kid is metric score scores eval evaluate prdc",
    "key": "metric metrics score sort by fid",
    "flip": "mirror hflip horizontal-flip random-flip xflip augment augmentation",
    "fresh": "overwrite force restart new no-resume from-scratch clean",
    "turn": "rot90 rotate90 use-rot random-rot90 dihedral",
    "reverse-pairs": "direction which-direction btoa reverse swap",
    "fit": "crop pad resize-mode stretch interpolation tile tiles patches",
    "feature-network": "inception network features model classifier",
    "inception-weights": "inception-path inception-file",
    "preset": "size mode profile smoke paper laptop quick debug test",
    "sweep": "grid-search hparams tune search",
    "dry-run": "dryrun dry summary estimate info no-train check",
    "options": "config cfg yaml config-file options-file hparams params json",
    "images": "subset max-images limit num-train fraction max-samples",
    "hold-out": "test-split val-split validation-split holdout test-size val-size validation",
    "loss": "objective gan-loss loss-type criterion adversarial-loss gan-mode",
    "for": "experiment exp model recipe preset",
}


def meant(typed: str, arguments: Sequence[Argument]) -> str:
    """Returns `; perhaps you meant --NAME: what it is` for a name that no option has: the option that is called so
    elsewhere, or else one that is written much like it. "" where there is neither."""
    word = typed.lstrip("-").replace("_", "-").casefold()
    options = {argument.flag: argument for argument in arguments if not argument.positional}
    words = (word, word.removeprefix("no-"), word.replace("-", ""))
    called = [name for each in words for name in options if each == name]
    called += [name for each in words for name in ELSEWHERE if name in options and each in ELSEWHERE[name].split()]
    name = called[0] if called else None
    if name is None:
        near = perhaps(word, [*options, *(f"no-{flag}" for flag, argument in options.items() if argument.switch)])
        name = near.rpartition(" ")[2]
        if name not in options:
            return near.replace(name, f"--{name}") if near else ""
    about = sentence(options[name])
    return f"; perhaps you meant --{name}{': ' if about else ''}{about}"
