"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("333f6079865929b0d509ef27219108c6cf54f04b79f9828a5a386586d026652e", 23),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("1b32c22fcd892a56e151a06d66d143df4f186610aa12b17d575dc53e7dcad83b", 60),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("f5334d36a78062544681e821a506246438de6f1625d1cc5ae1884cf6cb853c56", 157),
    "protocol": ("d3e4c0c44de8af5757b5c6c0c0fb4c92c1c437b4ffbed0043276078df9a39773", 18),
    "session-curious-sparse": ("23d024d55549cc7067a87ca3b8b6177d0c3ff36cd075856254aaecdff5524d96", 161),
    "session-curious-complete": ("fbc87e282ff503be999428ef82c2675b4f6b05cf524d29df5e553f39fc6ffb84", 155),
    "session-semi-malicious": ("c5c4d0a969dbda75e15b737cfe06191dea5b466893b076c230f34c64cb417400", 209),
    "session-malicious": ("e4ce15ed5cae063c942e9bb3c3b3775fc0e9eb52420b7745beb8e26bfb727fd6", 199),
    "session-private-curious": ("e95fd8171ffd6d9f00a5fa55ab8136d9ad43ed7c4c671a8526e464e2d039f755", 96),
    "session-private-semi-malicious": ("9ff69bcc990e6319e84b23f4cdc03cf224ccdbb9dfbedd218b75be3328f4b4a2", 111),
    "session-private-malicious": ("70928d6f92cafb83ca8d3b79c16d23528f4a6bef3315f38d27afae059263651d", 110),
    "paillier-round": ("5391296d50014968e014b8440156d9ecb101e1e3e4760e0fb92c7898d94f0e80", 78),
    "ledger": ("7c68a1c4c6fff5229ef0edb569c7dcabdd9ad005751c537d37ae11ffa1f59116", 121),
}
