"""sha256 of arcface_torch's code files, with LF line ends, without `configs/`."""

# deepinsight/insightface at 7fadd420 (2026-07-27); unchanged since 9097cd7b (2023-06-10).
PINNED_COMMIT = "7fadd420"
PINNED = {
    "backbones/__init__.py": "f8b47b5f06f9f7febc85e02471e756b1576f92f222f432f818c1bfbcedeac176",
    "backbones/iresnet.py": "fb57d145c4c26d8e55680c24fa164541a7222ccdefa3a1716c054ff4c5859753",
    "backbones/iresnet2060.py": "2bb41694c2af1b532ed78ce5474eb90065354baed1851f3cdc76a52a2893daa4",
    "backbones/mobilefacenet.py": "95a1746ca8c8b88460adf4fb0b113a4a0292481019eb5157df3e1cd9eacb8881",
    "backbones/vit.py": "860977622aa54321a3b569962cf64737db28ed4ce9b38479f6861800ccdd894f",
    "dataset.py": "76b5ec9f9db86c95b718ba709865b379116d5f8949a807b84dbeadb1cefe39eb",
    "eval/__init__.py": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "eval/verification.py": "df7872cc5a582464c75abffa3d82ff776aa764259428c2e821dbaaf64d23123a",
    "eval_ijbc.py": "d514e5f0997c2ad146e6cd9b59aa44e8f1747579bcbeeb6aa916524688158b42",
    "flops.py": "675b8cf0e4fb576fb4a95fa1ebc0faee76ad5c6e303916c18dc65c543589cb47",
    "inference.py": "7c355c1907068964cc4e1776f42d570630771967af1a8140db2729d541f0b338",
    "losses.py": "177f2232f89400d6d2e3ca32a7906a45634f2a9910d4c6ee158b803277fe7570",
    "lr_scheduler.py": "d40df7dde77aadaa82227ef6a14ee48d0018f4ea79e0527147892fc08f38dce2",
    "onnx_helper.py": "2ce18370cf5becba048c74e1f138347ac1994f555675827e689026b5b83aeb68",
    "onnx_ijbc.py": "b1a9a43a161dfc2bed0a6b65630c2d62035aadac076cb52a06dda6a63a19db62",
    "partial_fc_v2.py": "28c0188301a1d3012cf24d2273b8b22012f1ab6254ffb739616ef6015d7fcf7a",
    "scripts/shuffle_rec.py": "733d492f4b8202463f25e2655a52792656d47962fd73aecca9290d7d2ac08746",
    "torch2onnx.py": "5c98c91eea00cb19b3a11d484b10cf8a2f34af399a3b438622ed0aefeaa8bb34",
    "train_v2.py": "f273ca43e898437dc415f195597a029d5a8a8c2770f47b5576b81b02f8f8cf0e",
    "utils/__init__.py": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "utils/plot.py": "fd88894eb780d34c0473cd3a79e04a82256e8756ee75e1be2c2eab2a5a31ba3b",
    "utils/utils_callbacks.py": "920545b961c3a109f1597d3138c032024d51442d92984e7775f89f33e20b21a5",
    "utils/utils_config.py": "2d4ff01c232488bc5115357c573e92a3b03f8862e664a0c8b7fe4fce62ad95b1",
    "utils/utils_distributed_sampler.py": "a65eb1e2ecec04547caf1473ee9e8460f45022b078d0e0c372ae85bb305c2386",
    "utils/utils_logging.py": "1f89596b621d1e520bbe60fc7ab846d25d97c88d14133451033db9ca675a711f",
}

# Earlier states with PartialFC_V2: sha256 over the lines `sha256  name` of the files above (`None` for an absent one).
KNOWN = {
    "f2933624dafe6584509fa420a5f25d0fef66dee925d2d82bfe7ca10bfe629717": "4f227ba5 of 2022-07-13",
    "28f4ed2f9cae9011f0fab394505d6d5e35e75deb03944e3ad5282c5dbebe466f": "657ae30e of 2022-12-15",
    "7b5c810eb102ac23a81c51629955650f02e18e927ca70d8d6137b695374e0da9": "2f64881a of 2023-01-01",
    "a021acb9c0c2249f016c458c84d47285dde7b377a34f3845078056d6927d0d07": "2728b1f6 of 2023-01-01",
    "fb8318f0117b182b3c619a1607f6ce9201deb5507e9158c9dd48bab284e2864e": "90cac16d of 2023-01-03",
    "27e7beb64413a8ff897831e73b803133ca95c9056a5a4cf1c2a98ad64c294352": "b974acc1 of 2023-02-08",
    "dc351334fcfc061cb95a266ade7d21b41ceb3103bdec8185a2b311d1548fe4ba": "bf32ec2d of 2023-02-08",
    "2fb89f78773d707649c3f68b2c6eb2c8fd87bf5484ba942a556960793598483c": "e0fdff81 of 2023-02-08",
    "e75d364da25021470cb9e9e075ea1b4610593ca5d5dc7174258a905c0668b1f5": "ab27f4d6 of 2023-04-08",
}
