"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("a9d5eaf08e62131be7f3c2ba7cebb9d85fbe8e6187d69bfe83bed40f11a0cc86", 35),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("1b32c22fcd892a56e151a06d66d143df4f186610aa12b17d575dc53e7dcad83b", 60),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("00d05151f56f0783222b1662ae2d00c8578115990a6360dd330778600f5bde99", 165),
    "protocol": ("733b66e6039ae6f05212214022c5c34c63177a86b04865a8ff8d16ca9ea4cc0f", 18),
    "session-curious-sparse": ("23f8deab67ecb418641b0680c1c6b2e7a8245c9cc7d5d1d2445d4e489eafe0a3", 167),
    "session-curious-complete": ("1c812ea6267a6a5207a9b2976bd6dbb9f289b35f619cf567aebed3666b4aedb2", 155),
    "session-semi-malicious": ("09aca242ce6329bdbeed66923215b129050ac9ef8f0dcf8b1196f71e12d7e3ca", 207),
    "session-malicious": ("8dc41591c0083c4dbd7e4893f8163887e633ae782bde18d788ed963e6cfa82c2", 199),
    "session-private-curious": ("fb75965915bf3a7f807faccc4007ef4ecbc5b053dd0c46613e8981040bc20c7a", 95),
    "session-private-semi-malicious": ("48cd0e845f7d981b760523a3c28a4e540c765cae79937e3b388883e9d092c5b5", 109),
    "session-private-malicious": ("eb803e2b67750b2485c4438f2219cf424814bc76028ad480b5b35ff0201f0a05", 107),
    "paillier-round": ("a426a5dc5183a685c1e43557ed29fbb1586c099419f61a1ef9eb3b8472f449fe", 84),
    "ledger": ("7c68a1c4c6fff5229ef0edb569c7dcabdd9ad005751c537d37ae11ffa1f59116", 121),
}
