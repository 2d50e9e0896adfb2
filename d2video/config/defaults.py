"""Config keys shared by all systems, and the registry through which each project adds its own."""

from collections.abc import Callable

from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg as get_detectron2_cfg

from d2video.config.device import best_device
from d2video.projects import register_all

_PROJECT_CONFIGS: list[Callable[[CN], None]] = []


def register_config(add_keys: Callable[[CN], None]) -> Callable[[CN], None]:
    """Decorate a project's ``add_<name>_config(cfg)`` so that :func:`get_cfg` includes its keys."""
    if add_keys not in _PROJECT_CONFIGS:
        _PROJECT_CONFIGS.append(add_keys)
    return add_keys


def get_cfg() -> CN:
    """detectron2's default config, the shared d2video keys, and those of every project, which the
    first call registers (:func:`d2video.projects.register_all`)."""
    register_all()
    cfg = get_detectron2_cfg()
    add_d2video_config(cfg)
    for add_keys in _PROJECT_CONFIGS:
        add_keys(cfg)
    return cfg


def add_d2video_config(cfg: CN) -> None:
    """Add the keys that two or more systems read."""
    # ---- data ---------------------------------------------------------------------------------
    # Your own data sets: [[name, format, {arguments}], ...]; see d2video/data/datasets/from_config.py.
    cfg.DATASETS.REGISTER = []
    # Name of the dataset mapper in d2video.data.DATASET_MAPPER_REGISTRY. "DatasetMapper" is detectron2's.
    cfg.INPUT.DATASET_MAPPER = "DatasetMapper"
    # Turn images by the orientation in their EXIF entries, as most programs that draw labels do. False:
    # take the pixels as they are stored, for labels that count those; in training, evaluation and
    # prediction. Video files are turned by their own rotation either way.
    cfg.INPUT.EXIF_ORIENTATION = True
    # Training augmentations of d2video's mappers, in order: [name in
    # d2video.data.AUGMENTATION_REGISTRY, {arguments}]. Of a clip they are drawn once and replayed on
    # every frame.
    cfg.INPUT.AUGMENTATIONS = [["RandomFlip", {"prob": 0.5}]]
    # Resize training frames by torch, four times as fast as by Pillow, which the official codes use. Values
    # (0 to 255) differ by at most 1 a resizing, fewer than one in a hundred.
    cfg.INPUT.FAST_RESIZE = False
    # Copy-paste: PROB is the probability (0 to 1; 0: never) that objects of another sample are pasted onto a
    # training sample, by their masks and through all its frames, until it has at most MAX_OBJECTS. For
    # the mappers of VisTR, TrackFormer and DETR, the latter two with MODEL.MASK_ON.
    cfg.INPUT.COPY_PASTE = CN()
    cfg.INPUT.COPY_PASTE.PROB = 0.0
    cfg.INPUT.COPY_PASTE.MAX_OBJECTS = 100
    # Probability (0 to 1) that one object is pasted onto another of its class, where there is one, in place
    # of several anywhere: overlaps of this kind are learned last.
    cfg.INPUT.COPY_PASTE.OVERLAP = 0.0
    # What one epoch visits: "frame" = every annotated frame as a key frame (official VisTR),
    # "video" = every video once, with a random key frame. An image is a video of one frame.
    cfg.INPUT.EPOCH_UNIT = "frame"

    # Clips with objects, for ClipDatasetMapper.
    cfg.INPUT.CLIP = CN()
    # Frames in a training clip and in an inference window.
    cfg.INPUT.CLIP.NUM_FRAMES = 36
    # Which frames make up a clip, by name in d2video.data.CLIP_SAMPLER_REGISTRY:
    # "WindowSampler" (consecutive frames ending at the key frame, the official VisTR choice) or
    # "RandomRangeSampler" (key frame and others drawn around it without replacement).
    cfg.INPUT.CLIP.SAMPLER = "WindowSampler"
    # RandomRangeSampler: greatest distance from the key frame, in frames.
    cfg.INPUT.CLIP.RANGE = 20
    # True keeps the official handling of absent instances: flipped zero boxes become (W, 0, W, 0),
    # and instances that a crop removes stay valid. False marks both absent.
    cfg.INPUT.CLIP.OFFICIAL_TARGETS = False

    # In training another random sample replaces one that cannot be read, at most this many times in a
    # row. 0: a bad sample stops the training. Each fault is logged once.
    cfg.DATALOADER.MAX_RETRIES = 10
    # Greatest share of bad samples, 0 to 1, of all drawn or of 1000, whichever are more; above it the
    # training stops: at 0.05 not before the 51st bad one. 1: never.
    cfg.DATALOADER.MAX_BAD_SHARE = 0.05

    # Clips of video classification, cut from video files by VideoClipMapper. For testing the short
    # side becomes INPUT.MIN_SIZE_TEST.
    cfg.INPUT.CLASSIFICATION = CN()
    # A training clip: frames, and seconds from the first to the last (0: the whole video). Official
    # VTN: every 8th frame at 25 frames a second.
    cfg.INPUT.CLASSIFICATION.NUM_FRAMES = 16
    cfg.INPUT.CLASSIFICATION.CLIP_SECONDS = 5.12
    # A clip of the evaluation: frames (0: every one) and seconds (0: the whole video).
    cfg.INPUT.CLASSIFICATION.NUM_FRAMES_TEST = 250
    cfg.INPUT.CLASSIFICATION.TEST_SECONDS = 10.0
    # Views of a video in the evaluation: clips in time, evenly spread (a single one is at the
    # beginning), times square crops along the longer side. 1 or more each.
    cfg.INPUT.CLASSIFICATION.NUM_VIEWS = 1
    cfg.INPUT.CLASSIFICATION.NUM_CROPS = 1
    # Side of the test crops in pixels; 0: no crop, NUM_CROPS must be 1.
    cfg.INPUT.CLASSIFICATION.CROP_SIZE_TEST = 224
    # Frame numbers that the model sees: "absolute" counts from the beginning of the video, "clip"
    # from that of the clip (official training).
    cfg.INPUT.CLASSIFICATION.FRAME_INDEX = "absolute"
    # "forward", or "shuffled": the pictures of a clip change places while the numbers stay, a
    # control that shows whether the order matters.
    cfg.INPUT.CLASSIFICATION.FRAME_ORDER = "forward"
    # The same for testing; "": as FRAME_ORDER.
    cfg.INPUT.CLASSIFICATION.FRAME_ORDER_TEST = ""

    # ---- solver -------------------------------------------------------------------------------
    # "SGD" (detectron2's) or "ADAMW".
    cfg.SOLVER.OPTIMIZER = "SGD"
    # Learning rate of the parameters under `backbone.` relative to BASE_LR; official DETR: 0.1.
    cfg.SOLVER.BACKBONE_MULTIPLIER = 1.0
    # [[part of a name, factor], ...]: parameters learn at BASE_LR times the factor of the first entry
    # whose part, one or more whole words between dots, is in their name; in the backbone, too.
    cfg.SOLVER.LR_MULTIPLIERS = []
    # The schedule in epochs; MAX_ITER and STEPS are computed from it and the length of the training
    # set (last batch dropped). 0: SOLVER.MAX_ITER and SOLVER.STEPS are used as they are. Where a config
    # builds on another, or on the command line, the one given last of MAX_EPOCHS and MAX_ITER counts.
    cfg.SOLVER.MAX_EPOCHS = 0
    cfg.SOLVER.EPOCH_STEPS = ()
    # Number of latest numbered checkpoints that stay in OUTPUT_DIR, besides model_final.pth; 0: all.
    # With 2 or more there is one to fall back on if the newest file is damaged.
    cfg.SOLVER.CHECKPOINT_KEEP = 0
    # Type of mixed precision if SOLVER.AMP.ENABLED: "float16" (GPUs only) or "bfloat16".
    cfg.SOLVER.AMP.DTYPE = "float16"
    # A loss or gradient norm that is NaN or infinite stops the training before the update. This many
    # such steps in all are left out instead (float16's search for its scale does not count).
    cfg.SOLVER.SKIP_NON_FINITE = 0

    # Exponential moving average of the weights. If ENABLED, evaluations in and after the training take the
    # averaged weights, and checkpoints hold them as "model". No paper here uses it.
    cfg.SOLVER.EMA = CN()
    cfg.SOLVER.EMA.ENABLED = False
    # Share of the average that stays in a step, between 0 and 1: it spans about the last 1 / (1 - DECAY)
    # steps. It begins lower: after t steps it is at most (1 + t) / (10 + t).
    cfg.SOLVER.EMA.DECAY = 0.999

    # Name prefixes of parameters that are not loaded from MODEL.WEIGHTS but start anew, for
    # fine-tuning on other classes, such as ["network.class_embed."].
    cfg.MODEL.WEIGHTS_IGNORE = ()

    # ---- reproducibility ----------------------------------------------------------------------
    # The same config on the same machine gives the same numbers, or an error that names the operation
    # without a deterministic kernel. Needs a SEED of 0 or more; see docs/reliability.md.
    cfg.DETERMINISTIC = False

    # ---- speed and memory ---------------------------------------------------------------------
    # "cuda", "cuda:1", "mps", "cpu", or "auto", which load_cfg replaces by the best device of this machine:
    # CUDA, else MPS, else the CPU. It is the default, here replaced already, for those who do not call it.
    cfg.MODEL.DEVICE = best_device()
    # Type of the networks' heavy parts at inference, in evaluations of a training, too: "float32",
    # "bfloat16" or "float16", by torch's autocast. Boxes, probabilities, matching and answers are float32.
    # On a CPU bfloat16 is faster only where the processor has instructions for it (AVX512_BF16, AMX).
    # Training has SOLVER.AMP.
    cfg.TEST.PRECISION = "float32"
    # Compile the network by torch.compile; the first steps then take minutes.
    cfg.MODEL.COMPILE = False
    # For MODEL.BACKBONE.NAME build_timm_backbone (stages of a network) and build_timm_vit_backbone
    # (VTN's frame features): the model's name in timm, and whether training starts from timm's weights
    # for it, from the Hugging Face Hub.
    cfg.MODEL.TIMM = CN()
    cfg.MODEL.TIMM.NAME = "vit_base_patch16_224"
    cfg.MODEL.TIMM.PRETRAINED = False
    # Of build_timm_backbone: the stages whose feature maps it gives, such as ["stage2", "stage3"], from
    # fine to coarse; nothing behind the last one is built. Empty: all. Strides differ from network to
    # network: stage1 has 2 in EfficientNets and ResNets, 4 in ConvNeXt and Swin.
    cfg.MODEL.TIMM.OUT_FEATURES = []
    # Of build_timm_backbone: batch norms keep their statistics and do not learn, as FrozenBN of
    # MODEL.RESNETS.NORM. For pretrained weights only.
    cfg.MODEL.TIMM.FREEZE_NORM = False
    # Recompute activations in the backward pass instead of keeping them: less memory, more time.
    cfg.MODEL.ACTIVATION_CHECKPOINT = False

    # ---- evaluation ---------------------------------------------------------------------------
    # Classes are matched by name. True: classes of a test set that the model lacks are listed and left
    # out, and the metrics are averaged over the others. False: such a test set is refused.
    cfg.TEST.COMMON_CLASSES_ONLY = False
    # The metric of the best checkpoint, which a training with evaluations (TEST.EVAL_PERIOD) keeps as
    # model_best.pth: a name such as "segm/AP" or, of several test sets, "my_val/segm/AP"; "auto": the main
    # one of the results (d2video/evaluation/main_metric.py); "": no best checkpoint.
    cfg.TEST.BEST_METRIC = "auto"
    # "max": a higher BEST_METRIC is better; "min": a lower one.
    cfg.TEST.BEST_MODE = "max"
    # End the training after this many evaluations in a row without a better BEST_METRIC; 0: never.
    cfg.TEST.EARLY_STOPPING = 0

    # At each evaluation of a training, the losses of fixed samples of each test set with labels, as
    # "held_out/total_loss" …, and how their objects are matched. NUM_SAMPLES, rounded to whole batches of
    # SOLVER.IMS_PER_BATCH and at least one, take a forward pass each; 0: none.
    cfg.TEST.HELD_OUT = CN()
    cfg.TEST.HELD_OUT.NUM_SAMPLES = 32
    # At each evaluation, pictures of this many of such samples of each test set, labels beside
    # predictions, in TensorBoard and in OUTPUT_DIR/visualizations; 0: none. Drawn by the main process
    # only. One takes a prediction and about 1 MB in TensorBoard's file.
    cfg.TEST.VISUALIZE = CN()
    cfg.TEST.VISUALIZE.NUM_SAMPLES = 4
    # Predictions with a lower score are not drawn, 0 to 1.
    cfg.TEST.VISUALIZE.SCORE_THRESHOLD = 0.3
    # At its end a training writes OUTPUT_DIR/report.html: curves, results, such pictures, and this many
    # videos of each test set with what the model finds in their first 100 frames; 0: none.
    cfg.TEST.VISUALIZE.NUM_CLIPS = 4

    # ---- video inference ----------------------------------------------------------------------
    cfg.TEST.VIDEO = CN()
    # Frames of a video, of VisTR windows, that go through the network at once, 1 or more; memory grows with
    # them. Answers stay the same, but for rounding. Frames that come one at a time, as a camera's, go
    # through it one by one. TrackFormer, whose queries come from the frame before, takes that many
    # videos side by side where d2video predict is given several, a frame of each; those of one size go
    # through the network at once.
    cfg.TEST.VIDEO.BATCH = 1
    # Frames shared by two neighbouring windows of a video longer than INPUT.CLIP.NUM_FRAMES.
    cfg.TEST.VIDEO.WINDOW_OVERLAP = 6
    # Least similarity at which tracks of two windows are one: on their shared frames, the summed
    # intersection of the masks over the summed union, times the cosine of the class probabilities.
    cfg.TEST.VIDEO.LINK_IOU = 0.3
