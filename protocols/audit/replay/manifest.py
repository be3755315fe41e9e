"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("a9d5eaf08e62131be7f3c2ba7cebb9d85fbe8e6187d69bfe83bed40f11a0cc86", 35),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("271f6c175e37a60ef068f6d2bc1488cc06b716036887b0b295f4c9b11d8aff77", 74),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("6ecfbd8e2a41e566a2454bcd45dacfdef30a1823bb262adcd6157c0ced003a92", 190),
    "protocol": ("8d18b2b862edf420fb24d955d80be5c7253755bcf806ca164d287f3ebe2607eb", 20),
    "session-curious-sparse": ("d1ab235cec3649f9f35e09d1b15b3328cbff7a17f6a613dbee4f5093cda22caa", 184),
    "session-curious-complete": ("92c1c3353bb2668166fd4d987ee1e2195dc54dc0b2fdae3f8b492c7bf6412301", 173),
    "session-semi-malicious": ("5460ea6f4ac7309ff5b1c4222dbe52fe3f920eba638e191a7ea5189012ea6956", 227),
    "session-malicious": ("aa7c5abf558b0b66868e12308611c4e3f48e5308f54612ae935bd8636b33d0c7", 252),
    "session-private-curious": ("17f9608ae58ceeca3c147c4ec6abbeafadd3038dde9d76745f6e01c0ad9073cc", 96),
    "session-private-semi-malicious": ("480980177108f0ca3b56f91a3908362f5e992c395b2e4f66cc4debbc1d37cba6", 110),
    "session-private-malicious": ("40ae3c002cf532e9f0f8b7a1c804ece20a83e54d39c380828efbb1349fe81dc0", 122),
    "paillier-round": ("7ae571cd4a01c3dd812c802e01e316c4ac437cfdeea3e298cf7a6b4c9e4963c5", 100),
    "paillier-round-once": ("81dd1751b119974009d5af744994a4e8b1ab5613f20ffc8941790b8348813ff3", 86),
    "ledger": ("4234fedabf6d95864638988b4b85e9016076416118a45572f9f329510b2be5eb", 121),
}
