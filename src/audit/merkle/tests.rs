//! Known vectors of Certificate Transparency, and a comparison with the recursive definitions of RFC 6962.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Inputs of the reference tree of the certificate-transparency project.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn reference_roots() {
    assert_eq!(
        hex::encode(Frontier::default().root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let mut tree = Frontier::default();
    for (leaf, root) in reference_leaves().into_iter().zip(ROOTS) {
        tree.append([leaf], |_| ());
        assert_eq!(hex::encode(tree.root()), root, "size {}", tree.size());
    }
}

#[test]
fn reference_inclusion_proofs() {
    let cases: [(u64, u64, &[&str]); 3] = [
        (0, 1, &[]),
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
    ];
    let nodes = nodes_of(&reference_leaves());
    for (position, size, expected) in cases {
        let proof = ProofPlan::inclusion(position, size)
            .expect("in range")
            .fill(|id| nodes.get(&id).copied())
            .expect("all nodes");
        let proof: Vec<String> = proof.iter().map(hex::encode).collect();
        assert_eq!(proof, expected, "leaf {position} of {size}");
    }
}

#[test]
fn reference_consistency_proof() {
    let nodes = nodes_of(&reference_leaves());
    let proof = ProofPlan::consistency(6, 8)
        .expect("in range")
        .fill(|id| nodes.get(&id).copied())
        .expect("all nodes");
    let proof: Vec<String> = proof.iter().map(hex::encode).collect();
    assert_eq!(
        proof,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn sizes_out_of_range_are_refused() {
    assert_eq!(ProofPlan::inclusion(3, 3), Err(ProofError::Range));
    assert_eq!(ProofPlan::consistency(4, 3), Err(ProofError::Range));
    assert_eq!(
        verify_inclusion(&[0; 32], 0, 0, &[], &[0; 32]),
        Err(ProofError::Range)
    );
    assert!(Frontier::restore(3, vec![[0; 32]]).is_err());
}

proptest! {
    #[test]
    fn growth_in_any_batches_is_the_definition(count in 0_usize..70, cut in 0_usize..70) {
        let leaves = leaves(count);
        let (first, second) = leaves.split_at(cut.min(count));
        let mut stored = HashMap::new();
        let mut tree = Frontier::default();
        tree.append(first.iter().copied(), |node| { stored.insert(node.id, node.hash); });
        let peaks = Frontier::wanted(tree.size()).iter().map(|id| stored[id]).collect();
        let mut taken_up = Frontier::restore(tree.size(), peaks).expect("complete");
        prop_assert_eq!(&taken_up, &tree);
        taken_up.append(second.iter().copied(), |node| { stored.insert(node.id, node.hash); });
        prop_assert_eq!(taken_up.root(), naive_root(&leaves));
        for (id, hash) in &stored {
            let start = usize::try_from(id.index << id.level).expect("small");
            prop_assert_eq!(*hash, naive_root(&leaves[start..start + (1 << id.level)]));
        }
    }

    #[test]
    fn every_inclusion_proof_is_the_definition_and_no_other_passes(count in 1_usize..70, at in 0_usize..70, flip in any::<prop::sample::Index>()) {
        let at = at % count;
        let leaves = leaves(count);
        let nodes = nodes_of(&leaves);
        let (position, size) = (at as u64, count as u64);
        let proof = ProofPlan::inclusion(position, size).expect("range").fill(|id| nodes.get(&id).copied()).expect("nodes");
        prop_assert_eq!(&proof, &naive_path(at, &leaves));
        let root = naive_root(&leaves);
        prop_assert_eq!(verify_inclusion(&leaves[at], position, size, &proof, &root), Ok(()));
        prop_assert!(verify_inclusion(&[9; 32], position, size, &proof, &root).is_err());
        for other in (0..count).filter(|other| *other != at) {
            prop_assert!(verify_inclusion(&leaves[at], other as u64, size, &proof, &root).is_err());
        }
        let mut longer = proof.clone();
        longer.push([0; 32]);
        prop_assert_eq!(verify_inclusion(&leaves[at], position, size, &longer, &root), Err(ProofError::Length));
        if !proof.is_empty() {
            let mut bent = proof.clone();
            bent[flip.index(proof.len())][0] ^= 1;
            prop_assert_eq!(verify_inclusion(&leaves[at], position, size, &bent, &root), Err(ProofError::Root));
            prop_assert_eq!(verify_inclusion(&leaves[at], position, size, &proof[1..], &root), Err(ProofError::Length));
        }
    }

    #[test]
    fn every_consistency_proof_is_the_definition_and_no_other_passes(count in 0_usize..70, old in 0_usize..70, flip in any::<prop::sample::Index>()) {
        let old = old.min(count);
        let leaves = leaves(count);
        let nodes = nodes_of(&leaves);
        let (old_size, size) = (old as u64, count as u64);
        let proof = ProofPlan::consistency(old_size, size).expect("range").fill(|id| nodes.get(&id).copied()).expect("nodes");
        if old > 0 {
            prop_assert_eq!(&proof, &naive_subproof(old, &leaves, true));
        }
        let (old_root, root) = (naive_root(&leaves[..old]), naive_root(&leaves));
        prop_assert_eq!(verify_consistency(old_size, &old_root, size, &root, &proof), Ok(()));
        prop_assert!(verify_consistency(old_size, &[9; 32], size, &root, &proof).is_err());
        if old > 0 {
            prop_assert!(verify_consistency(old_size, &old_root, size, &[9; 32], &proof).is_err());
        }
        if !proof.is_empty() {
            let mut bent = proof.clone();
            bent[flip.index(proof.len())][0] ^= 1;
            prop_assert!(verify_consistency(old_size, &old_root, size, &root, &bent).is_err());
        }
    }

    #[test]
    fn no_proof_makes_the_verifiers_panic(position in any::<u64>(), size in any::<u64>(), proof in prop::collection::vec(any::<[u8; 32]>(), 0..70)) {
        prop_assert!(verify_inclusion(&[1; 32], position, size, &proof, &[2; 32]).is_err());
        prop_assert!(verify_consistency(position, &[1; 32], size, &[2; 32], &proof).is_err());
    }
}

fn reference_leaves() -> Vec<Hash> {
    LEAVES
        .iter()
        .map(|leaf| leaf_hash(&hex::decode(leaf).expect("hex")))
        .collect()
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn nodes_of(leaves: &[Hash]) -> HashMap<NodeId, Hash> {
    let mut nodes = HashMap::new();
    Frontier::default().append(leaves.iter().copied(), |node| {
        nodes.insert(node.id, node.hash);
    });
    nodes
}

fn naive_split(len: usize) -> usize {
    let mut k = 1;
    while k * 2 < len {
        k *= 2;
    }
    k
}

fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(naive_split(many.len()));
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

fn naive_path(at: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let k = naive_split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, other) = if at < k {
        (naive_path(at, left), right)
    } else {
        (naive_path(at - k, right), left)
    };
    path.push(naive_root(other));
    path
}

fn naive_subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![naive_root(leaves)]
        };
    }
    let k = naive_split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if old <= k {
        (naive_subproof(old, left, whole), right)
    } else {
        (naive_subproof(old - k, right, false), left)
    };
    proof.push(naive_root(other));
    proof
}
