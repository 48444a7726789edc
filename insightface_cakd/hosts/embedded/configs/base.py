"""Defaults of every job; a job's file overrides some of them.

The line of a key says what it is, here and on the page of all keys.
"""

from easydict import EasyDict

config = EasyDict()

config.margin_list = (1.0, 0.5, 0.0)  # margin softmax: (m1, m2, m3), see losses.CombinedMarginLoss
config.interclass_filtering_threshold = 0  # negatives of a larger cosine become 0; 0: none do
config.sample_rate = 1.0  # share of the class centres that a step uses; all if 1

config.network = "r50"  # a network of the host, or timm:NAME
config.embedding_size = 512  # numbers of an embedding
config.fp16 = False  # mixed precision, on CUDA only
config.precision = "fp32"  # or bf16, for the forward passes of student and teachers in training
config.device = None  # cuda, mps or cpu; None takes the best there is

config.optimizer = "sgd"  # or adamw
config.lr = 0.1  # learning rate after the warm-up, falling to 0
config.momentum = 0.9  # of sgd
config.weight_decay = 5e-4  # of network and head
config.batch_size = 128  # per rank
config.gradient_acc = 1  # batches of one update

config.rec = None  # folder with train.rec; "synthetic" for random images
config.num_classes = None  # None: as many as the record file has
config.num_image = None  # kept for arcface_torch's files; steps come from the loader
config.num_epoch = 20  # passes over the images
config.warmup_epoch = 0  # epochs in which the learning rate rises from 0
config.val_targets = []  # verification sets NAME.bin of the folder rec
config.seed = 2048  # of weights, order of images and all that is drawn
config.num_workers = 2  # processes that read images
config.dali = False  # arcface_torch's DALI loader, on a checkout only
config.dali_aug = False  # its augmentation

config.output = None  # None: work_dirs/<job>
config.save_all_states = True  # write a checkpoint each epoch, to go on from
config.resume = False  # go on from the checkpoint in output
config.verbose = 0  # steps between further verifications; 0: none
config.verify_epochs = 1  # epochs between verifications; the last one is always verified
config.frequent = 10  # steps between two log lines
