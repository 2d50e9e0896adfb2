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
    """Return the default config: detectron2's keys, d2video's shared keys and every project's keys.

    The first call registers the projects (:func:`d2video.projects.register_all`).
    """
    register_all()
    cfg = get_detectron2_cfg()
    add_d2video_config(cfg)
    for add_keys in _PROJECT_CONFIGS:
        add_keys(cfg)
    return cfg


def add_d2video_config(cfg: CN) -> None:
    """Add the keys that two or more systems share."""
    # ---- data ---------------------------------------------------------------------------------
    # Your own datasets: [[name, format, {arguments}], ...]; see d2video/data/datasets/from_config.py.
    cfg.DATASETS.REGISTER = []
    # Name of the dataset mapper in d2video.data.DATASET_MAPPER_REGISTRY. "DatasetMapper" is detectron2's.
    cfg.INPUT.DATASET_MAPPER = "DatasetMapper"
    # Rotate images by the orientation in their EXIF data, as most labelling tools do. Set this to False if
    # your labels refer to the pixels as stored. Applies to training, evaluation and prediction. Video files
    # are always rotated by the rotation that they store.
    cfg.INPUT.EXIF_ORIENTATION = True
    # Training augmentations of d2video's mappers, in order: [name in
    # d2video.data.AUGMENTATION_REGISTRY, {arguments}]. Their parameters are drawn once for each clip and
    # applied to all of its frames.
    cfg.INPUT.AUGMENTATIONS = [["RandomFlip", {"prob": 0.5}]]
    # Resize training frames with torch, four times as fast as with Pillow, which the official
    # implementations use. In each resize fewer than 1% of the values (0 to 255) differ, by at most 1.
    cfg.INPUT.FAST_RESIZE = False
    # Copy-paste augmentation: with probability PROB (0 to 1; 0: never), paste objects of another sample onto
    # a training sample, by their masks and through all its frames. A sample then has at most MAX_OBJECTS
    # objects. For the mappers of VisTR, TrackFormer and DETR; the latter two need MODEL.MASK_ON.
    cfg.INPUT.COPY_PASTE = CN()
    cfg.INPUT.COPY_PASTE.PROB = 0.0
    cfg.INPUT.COPY_PASTE.MAX_OBJECTS = 100
    # Probability (0 to 1) of pasting one object onto another of the same class, if there is one, instead of
    # pasting several anywhere. Models learn overlaps of this kind last.
    cfg.INPUT.COPY_PASTE.OVERLAP = 0.0
    # What an epoch visits. "frame": every annotated frame as a key frame (official VisTR); "video": every
    # video once, with a random key frame. An image counts as a video of one frame.
    cfg.INPUT.EPOCH_UNIT = "frame"

    # Clips with labelled objects, for ClipDatasetMapper.
    cfg.INPUT.CLIP = CN()
    # Number of frames in a training clip and in an inference window.
    cfg.INPUT.CLIP.NUM_FRAMES = 36
    # How the frames of a clip are chosen: a name in d2video.data.CLIP_SAMPLER_REGISTRY.
    # "WindowSampler": consecutive frames that end at the key frame (official VisTR).
    # "RandomRangeSampler": the key frame and others drawn around it without replacement.
    cfg.INPUT.CLIP.SAMPLER = "WindowSampler"
    # For RandomRangeSampler: maximum distance from the key frame, in frames.
    cfg.INPUT.CLIP.RANGE = 20
    # True: handle absent instances as the official code does. Flipped zero boxes become (W, 0, W, 0), and
    # instances that a crop removes stay valid. False: mark both as absent.
    cfg.INPUT.CLIP.OFFICIAL_TARGETS = False

    # In training, replace a sample that cannot be read by a random other one, at most this many times in a
    # row. 0: a bad sample stops the training. Each fault is logged once.
    cfg.DATALOADER.MAX_RETRIES = 10
    # Stop the training if the share of bad samples (0 to 1) exceeds this value. The share is of the samples
    # drawn so far, counted as at least 1000: 0.05 stops no earlier than at the 51st bad one. 1: never stop.
    cfg.DATALOADER.MAX_BAD_SHARE = 0.05

    # Clips for video classification, which VideoClipMapper cuts from video files. In tests their short side
    # is resized to INPUT.MIN_SIZE_TEST.
    cfg.INPUT.CLASSIFICATION = CN()
    # Training clips: number of frames, and seconds from the first to the last (0: the whole video).
    # Official VTN: every 8th frame at 25 frames per second.
    cfg.INPUT.CLASSIFICATION.NUM_FRAMES = 16
    cfg.INPUT.CLASSIFICATION.CLIP_SECONDS = 5.12
    # Evaluation clips: number of frames (0: all) and seconds (0: the whole video).
    cfg.INPUT.CLASSIFICATION.NUM_FRAMES_TEST = 250
    cfg.INPUT.CLASSIFICATION.TEST_SECONDS = 10.0
    # Views of a video in evaluation: NUM_VIEWS clips, evenly spread in time (a single clip is at the
    # beginning), times NUM_CROPS square crops along the longer side. Both at least 1.
    cfg.INPUT.CLASSIFICATION.NUM_VIEWS = 1
    cfg.INPUT.CLASSIFICATION.NUM_CROPS = 1
    # Side of the test crops in pixels. 0: do not crop; NUM_CROPS must then be 1.
    cfg.INPUT.CLASSIFICATION.CROP_SIZE_TEST = 224
    # Frame numbers passed to the model. "absolute": counted from the start of the video; "clip": from the
    # start of the clip (official training).
    cfg.INPUT.CLASSIFICATION.FRAME_INDEX = "absolute"
    # Order of the frames in a clip. "forward": as in the video; "shuffled": the images are permuted while
    # the frame numbers stay, a control experiment that shows whether the order matters.
    cfg.INPUT.CLASSIFICATION.FRAME_ORDER = "forward"
    # The same for tests; "": as FRAME_ORDER.
    cfg.INPUT.CLASSIFICATION.FRAME_ORDER_TEST = ""

    # ---- solver -------------------------------------------------------------------------------
    # Optimizer: "SGD" (detectron2's) or "ADAMW".
    cfg.SOLVER.OPTIMIZER = "SGD"
    # Learning rate of the parameters under `backbone.`, as a multiple of BASE_LR. Official DETR: 0.1.
    cfg.SOLVER.BACKBONE_MULTIPLIER = 1.0
    # Learning rates by name: [[part of a name, factor], ...]. A part is one or more whole words between dots.
    # The first entry whose part is in a parameter's name sets its learning rate to BASE_LR times the factor.
    # This includes parameters of the backbone.
    cfg.SOLVER.LR_MULTIPLIERS = []
    # Schedule in epochs. MAX_ITER and STEPS are computed from it and from the length of the training set,
    # without an incomplete last batch. 0: use SOLVER.MAX_ITER and SOLVER.STEPS as given. If a config and
    # its base, or the command line, set both MAX_EPOCHS and MAX_ITER, the last one set applies.
    cfg.SOLVER.MAX_EPOCHS = 0
    cfg.SOLVER.EPOCH_STEPS = ()
    # Number of most recent numbered checkpoints to keep in OUTPUT_DIR, besides model_final.pth. 0: keep all.
    # With 2 or more, a training can resume from an older one if the newest file is damaged.
    cfg.SOLVER.CHECKPOINT_KEEP = 0
    # Data type of mixed precision if SOLVER.AMP.ENABLED: "float16" (GPUs only) or "bfloat16".
    cfg.SOLVER.AMP.DTYPE = "float16"
    # A NaN or infinite loss or gradient norm stops the training before the update. Up to this many such
    # steps in total are skipped instead. Steps in which float16 searches for its loss scale do not count.
    cfg.SOLVER.SKIP_NON_FINITE = 0

    # Exponential moving average of the weights. If ENABLED, evaluations during and after training use the
    # averaged weights, and checkpoints store them as "model". None of the papers implemented here uses it.
    cfg.SOLVER.EMA = CN()
    cfg.SOLVER.EMA.ENABLED = False
    # Fraction of the average that each step keeps, between 0 and 1. The average spans about the last
    # 1 / (1 - DECAY) steps. At the start the fraction is lower: after t steps at most (1 + t) / (10 + t).
    cfg.SOLVER.EMA.DECAY = 0.999

    # Name prefixes of parameters that are initialised instead of loaded from MODEL.WEIGHTS, such as
    # ["network.class_embed."] to fine-tune on other classes.
    cfg.MODEL.WEIGHTS_IGNORE = ()

    # ---- reproducibility ----------------------------------------------------------------------
    # Make runs reproducible: the same config on the same machine gives the same numbers. An operation
    # without a deterministic kernel raises an error that names it. Needs a SEED of 0 or more; see
    # docs/reliability.md.
    cfg.DETERMINISTIC = False

    # ---- speed and memory ---------------------------------------------------------------------
    # "cuda", "cuda:1", "mps", "cpu" or "auto", which load_cfg replaces by the best device available: CUDA,
    # else MPS, else the CPU. The default is already replaced here for code that does not call load_cfg.
    cfg.MODEL.DEVICE = best_device()
    # Data type of the network's expensive parts at inference, including evaluations during training:
    # "float32", "bfloat16" or "float16" (with torch's autocast). Boxes, probabilities, matching and
    # predictions stay float32. On a CPU, bfloat16 is faster only if the processor has instructions for it
    # (AVX512_BF16, AMX). For training see SOLVER.AMP.
    cfg.TEST.PRECISION = "float32"
    # Compile the network with torch.compile. The first steps then take minutes.
    cfg.MODEL.COMPILE = False
    # Backbones from timm, for MODEL.BACKBONE.NAME build_timm_backbone (stages of a network) and
    # build_timm_vit_backbone (VTN's frame features). NAME is the model's name in timm. With PRETRAINED,
    # training starts from timm's weights, which are downloaded from the Hugging Face Hub.
    cfg.MODEL.TIMM = CN()
    cfg.MODEL.TIMM.NAME = "vit_base_patch16_224"
    cfg.MODEL.TIMM.PRETRAINED = False
    # For build_timm_backbone: stages whose feature maps it returns, fine to coarse, such as
    # ["stage2", "stage3"]. Empty: all. Later stages are not built. Strides depend on the network: stage1 has
    # stride 2 in EfficientNets and ResNets, 4 in ConvNeXt and Swin.
    cfg.MODEL.TIMM.OUT_FEATURES = []
    # For build_timm_backbone: freeze the statistics and parameters of batch norms, as FrozenBN does in
    # MODEL.RESNETS.NORM. Use it with pretrained weights only.
    cfg.MODEL.TIMM.FREEZE_NORM = False
    # Recompute activations in the backward pass instead of storing them: less memory, more time.
    cfg.MODEL.ACTIVATION_CHECKPOINT = False

    # ---- evaluation ---------------------------------------------------------------------------
    # What to do if a test set has classes that the model lacks (classes are matched by name). True: list
    # them, leave them out and average the metrics over the other classes. False: raise an error.
    cfg.TEST.COMMON_CLASSES_ONLY = False
    # Metric that selects the best checkpoint. A training with evaluations (TEST.EVAL_PERIOD) keeps that
    # checkpoint as model_best.pth. A name such as "segm/AP" or, with several test sets, "my_val/segm/AP";
    # "auto": the main metric of the results (d2video/evaluation/main_metric.py); "": no best checkpoint.
    cfg.TEST.BEST_METRIC = "auto"
    # "max": a higher BEST_METRIC is better; "min": a lower one is.
    cfg.TEST.BEST_MODE = "max"
    # Stop the training after this many evaluations in a row without a better BEST_METRIC. 0: never.
    cfg.TEST.EARLY_STOPPING = 0

    # At each evaluation of a training, compute losses ("held_out/total_loss" …) and matching statistics on
    # fixed samples of each labelled test set. NUM_SAMPLES is rounded to whole batches of
    # SOLVER.IMS_PER_BATCH, at least one. Each sample costs a forward pass. 0: none.
    cfg.TEST.HELD_OUT = CN()
    cfg.TEST.HELD_OUT.NUM_SAMPLES = 32
    # At each evaluation, draw this many of these samples of each test set, ground truth beside predictions,
    # to TensorBoard and OUTPUT_DIR/visualizations. 0: none. Only the main process draws. Each picture costs
    # a prediction and about 1 MB in TensorBoard's file.
    cfg.TEST.VISUALIZE = CN()
    cfg.TEST.VISUALIZE.NUM_SAMPLES = 4
    # Minimum score of the predictions drawn, 0 to 1.
    cfg.TEST.VISUALIZE.SCORE_THRESHOLD = 0.3
    # At its end a training writes OUTPUT_DIR/report.html with curves, results and these pictures. It also
    # shows predictions on the first 100 frames of this many videos of each test set. 0: no videos.
    cfg.TEST.VISUALIZE.NUM_CLIPS = 4

    # ---- video inference ----------------------------------------------------------------------
    cfg.TEST.VIDEO = CN()
    # Number of frames (VisTR: windows) of a video that go through the network at once, at least 1. Memory
    # grows with it; predictions stay the same, except for rounding. Frames that arrive one at a time, as
    # from a camera, are processed one by one. TrackFormer's queries come from the previous frame, so it
    # processes one frame each of this many videos instead, if you give d2video predict several. Frames of
    # equal size go through the network at once.
    cfg.TEST.VIDEO.BATCH = 1
    # Number of frames shared by two neighbouring windows, in videos longer than INPUT.CLIP.NUM_FRAMES.
    cfg.TEST.VIDEO.WINDOW_OVERLAP = 6
    # Minimum similarity to link tracks of two windows. The similarity is the masks' summed intersection over
    # their summed union on the shared frames, times the cosine of the class probabilities.
    cfg.TEST.VIDEO.LINK_IOU = 0.3
