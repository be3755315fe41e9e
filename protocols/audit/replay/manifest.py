"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("a9d5eaf08e62131be7f3c2ba7cebb9d85fbe8e6187d69bfe83bed40f11a0cc86", 35),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("659d57844b348c4aa7f2230fca73fae29070018e2df0ac0c3c15ff65960d6d31", 64),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("838f1a0de5793cd50925cf16e75a7d97ccb546d8546c72cf4453c5da403ac5d0", 180),
    "protocol": ("f9d45a83f9251d3a41228a9e826655c71585cfec461cd8b8fc08d751faf51520", 18),
    "session-curious-sparse": ("05f7e77711718a257940ae7cabdab5f658953755f736904f695d2ff45becf9d4", 176),
    "session-curious-complete": ("9313b0dfa51a2e1e9f376473731b82668d6b208c70ffde8197535898916f2364", 163),
    "session-semi-malicious": ("d0dd9863a708f64fd95abda5fc475a92434efeab1f8727ffe41d22d6d0f8ac55", 218),
    "session-malicious": ("a20fbccd68caf1b1f3e53a96838b3a3c0bead0e9f781beb2f79a15e9fd52206f", 209),
    "session-private-curious": ("d6ff21c3196b6c9cde3c8c935ab396fdecdd8a91cad5eae4ba2c1be0005643db", 97),
    "session-private-semi-malicious": ("cd5ce9596a016b5761806b283207e6cb91e476c0fb71c7d5aa5f36943682e305", 112),
    "session-private-malicious": ("65324432a0ed414550577f107f8ae78dac078bec193d317ef9126eff43567d44", 111),
    "paillier-round": ("a426a5dc5183a685c1e43557ed29fbb1586c099419f61a1ef9eb3b8472f449fe", 84),
    "ledger": ("4234fedabf6d95864638988b4b85e9016076416118a45572f9f329510b2be5eb", 121),
}
