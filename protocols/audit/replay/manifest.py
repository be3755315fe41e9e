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
    "privacy": ("afab4dc502824a1c33ac4e00e42f82878109aa50ac4cc6673c30b3e442f0c35f", 157),
    "protocol": ("d3e4c0c44de8af5757b5c6c0c0fb4c92c1c437b4ffbed0043276078df9a39773", 18),
    "session-curious-sparse": ("cee53f2051ca1e67422f11d9d5ec32ee707e9eb928ba065b230cc1f35e2f6285", 161),
    "session-curious-complete": ("81612ca2424ae0a697155718822ff2a4257236d3c83f38ddd301ae874cf137d3", 155),
    "session-semi-malicious": ("6692ce2315c10705c8b1d5e0c30a70ed08d26715fa8007b821fec5c742bb9e97", 209),
    "session-malicious": ("cc92fcd3dd6b4d88dd5dc9f2dff779f705c8db18a2b15df0fdad80532a7b07f8", 199),
    "session-private-curious": ("ab34c9006a6c5ce7ab601ce932703e359ba981e25cf7e53b49686e1066c13d59", 96),
    "session-private-semi-malicious": ("48718034aaa8fddfe6fbea3b5ac0851adb95d23c4271e284a35ef67bfb1c3d6d", 111),
    "session-private-malicious": ("ccb114a3e54e891f167b239ce0cc9f21502709d3b3e72baaffe49d6c11f60627", 110),
    "paillier-round": ("5391296d50014968e014b8440156d9ecb101e1e3e4760e0fb92c7898d94f0e80", 78),
    "ledger": ("7c68a1c4c6fff5229ef0edb569c7dcabdd9ad005751c537d37ae11ffa1f59116", 121),
}
