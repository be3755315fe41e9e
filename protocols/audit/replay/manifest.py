"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("a9d5eaf08e62131be7f3c2ba7cebb9d85fbe8e6187d69bfe83bed40f11a0cc86", 35),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("32705df7dc8dcfcd6289548e526ae3e33f5152e0547bfb0c77179801b1242f2c", 90),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("e9b78d848e28a2e62d1bf5f1dacc8399e555229a56f53fd7bdc292fcbdc128f3", 235),
    "statistics": ("eccbb18b59bfc0795276e8a26ecad7d9ef743357b84430b9cf3074ea38eaf0e3", 91),
    "noisy_statistics": ("16799d6250661f15edf4888c13e1f7f518fe76124cd45c3de61bfc438017e49a", 46),
    "groups": ("1ee6b9657635274ab6e63a20ad369fa41b30e88247f81e9a16ffeaad5f7137d9", 30),
    "hierarchy": ("70613d3a26a1d619025f3ae3d3f623ff53928e2758317773d7d0beab91ce650c", 31),
    "requests": ("91cc16008ce42b8dc0bc2c5ff69059ae238f7312f8483c29a01a564260dc4823", 28),
    "protocol": ("ebdf8fcd5093dfbdb10a7a4ddb7936f4b4c3d14e6285512e3d172a7e58a97c11", 20),
    "session-curious-sparse": ("d1ab235cec3649f9f35e09d1b15b3328cbff7a17f6a613dbee4f5093cda22caa", 184),
    "session-curious-complete": ("92c1c3353bb2668166fd4d987ee1e2195dc54dc0b2fdae3f8b492c7bf6412301", 173),
    "session-semi-malicious": ("c966c88275ff3ca347e0a1ed59ae5a7865052ed039b6fc8871da3e39e9a2c286", 227),
    "session-malicious": ("022b14894b5aa7286776573c230112813b651bfaa8cd09dbffec78b8dee67473", 252),
    "session-private-curious": ("27b7b0881870cc310e89f52e17d2e1cd5b3221dc7d746217ba619190633b341c", 98),
    "session-private-semi-malicious": ("0d5073ae9a076bdea01bf63fdac716c7e5b8c1ec5b89b66a9c16bdda194abb16", 112),
    "session-private-malicious": ("7b9056178fc4125cdc01050cdaf3b3d468cae4a5dedc952ed163aa3540ddbfd3", 125),
    "session-private-records": ("158edb393288d63d35c319b321103417842496678dce33f996629866572aad21", 128),
    "paillier-round": ("7ae571cd4a01c3dd812c802e01e316c4ac437cfdeea3e298cf7a6b4c9e4963c5", 100),
    "paillier-round-once": ("81dd1751b119974009d5af744994a4e8b1ab5613f20ffc8941790b8348813ff3", 86),
    "ledger": ("b84b0cac7813b52f4a82a9782aed94a0d7c36c092ab31dfc850881ae2f0ae6e0", 124),
}
