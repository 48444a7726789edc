"""Defaults of every job; a job's file overrides some of them."""

from easydict import EasyDict

config = EasyDict()

# Margin softmax: (m1, m2, m3), see losses.CombinedMarginLoss.
config.margin_list = (1.0, 0.5, 0.0)
config.interclass_filtering_threshold = 0
config.sample_rate = 1.0

config.network = "r50"
config.embedding_size = 512
config.fp16 = False
config.precision = "fp32"  # or bf16, for the forward passes of student and teachers in training
config.device = None  # cuda, mps or cpu; None takes the best there is

config.optimizer = "sgd"  # or adamw
config.lr = 0.1
config.momentum = 0.9
config.weight_decay = 5e-4
config.batch_size = 128  # per rank
config.gradient_acc = 1

config.rec = None  # folder with train.rec; "synthetic" for random images
config.num_classes = None  # None: as many as the record file has
config.num_image = None  # kept for arcface_torch's files; steps come from the loader
config.num_epoch = 20
config.warmup_epoch = 0
config.val_targets = []
config.seed = 2048
config.num_workers = 2
config.dali = False
config.dali_aug = False

config.output = None  # None: work_dirs/<job>
config.save_all_states = True
config.resume = False
config.verbose = 0  # steps between further verifications; 0: none
config.verify_epochs = 1  # epochs between verifications; the last one is always verified
config.frequent = 10  # steps between two log lines
