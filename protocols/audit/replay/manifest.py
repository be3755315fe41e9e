"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("a9d5eaf08e62131be7f3c2ba7cebb9d85fbe8e6187d69bfe83bed40f11a0cc86", 35),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("5f15617205379344209ebdf5a4b6a99e9e137732cc812f718a178674cf75872c", 68),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("7c9ec23e0769141afb4faab1e82ede9d1e552dc98ef85a7c8ad4b96ae8554acf", 157),
    "protocol": ("31a1bfd0e9559314a20f5e9ee0828b8f9e06e3b61c33a055331d4173088f1ddc", 20),
    "session-curious-sparse": ("364e95915612552bfcaffe7b827c27f9062a8f374142284b3a184d9c3a8fb18f", 179),
    "session-curious-complete": ("9c92ac40c046c43e6615bb8a09b96af384135e244660193c65f556365df3cb37", 167),
    "session-semi-malicious": ("0b0dcf41036d9627420fef109d2a3484ac5e9cc48d1cae0dd5a488c9ebeb0560", 218),
    "session-malicious": ("b6996a9d828d5b06027dc44aa18d15cf892b675be51f113840a7956b026eae82", 244),
    "session-private-curious": ("32e371eea71106201345163b24699dbdbb92cfa222f58e7470fa65e503b8c57d", 96),
    "session-private-semi-malicious": ("7288ee08f6847f7280a4cc4295416284107fbe00e5b162eef86ad43c0dedc393", 111),
    "session-private-malicious": ("4f3fcfb429b09f4e120db00346721a75ce1989352f81b837acdf38b5d98ef187", 124),
    "paillier-round": ("a426a5dc5183a685c1e43557ed29fbb1586c099419f61a1ef9eb3b8472f449fe", 84),
    "ledger": ("7c68a1c4c6fff5229ef0edb569c7dcabdd9ad005751c537d37ae11ffa1f59116", 121),
}
