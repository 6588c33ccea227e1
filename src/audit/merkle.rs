//! The Merkle tree of RFC 6962: hashing, growth, proofs. Pure: no database.
//!
//! In: leaf hashes in order, and nodes by [`NodeId`]. Out: new nodes, roots, proofs, and the verdict on proofs.
//! Always holds: a stored node covers 2^level leaves and is complete, so it never changes; whatever hangs over an incomplete
//! right edge is folded anew from complete nodes.
//! Not here: what a leaf commits to (see [`super::leaf`]) and where nodes are kept (see [`super::store`]).

use sha2::{Digest as _, Sha256};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// Names a complete subtree: `level` 0 are leaves by position; `level` n covers leaves `index << n .. (index + 1) << n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    /// Height above the leaves.
    pub level: u8,
    /// From the left, from 0.
    pub index: u64,
}

/// A complete subtree and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Which.
    pub id: NodeId,
    /// Its hash.
    pub hash: Hash,
}

/// The proof does not show what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The position lies outside the tree, or the older tree is larger than the newer.
    #[error("the position or size lies outside the tree")]
    Range,
    /// Too few or too many hashes for these sizes.
    #[error("the proof has the wrong length")]
    Length,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// Hash of a leaf: `sha256(0x00 ‖ data)`.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(data);
    hash.finalize().into()
}

/// Hash of an inner node: `sha256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// Root of the empty tree: the hash of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right-most path of a tree: the roots of its complete subtrees, largest first. All that is needed to grow it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The nodes that [`Frontier::restore`] wants for a tree of `size` leaves, in its order.
    #[must_use]
    pub fn wanted(size: u64) -> Vec<NodeId> {
        cover(0, size)
    }

    /// Takes up a tree of `size` leaves; `peaks` are the hashes of [`Frontier::wanted`], in that order.
    pub fn restore(size: u64, peaks: Vec<Hash>) -> Result<Self, ProofError> {
        if u32::try_from(peaks.len()) != Ok(size.count_ones()) {
            return Err(ProofError::Length);
        }
        Ok(Self { size, peaks })
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends leaves by their hashes; hands each node that became complete, leaves included, to `completed`.
    pub fn append(&mut self, leaves: impl IntoIterator<Item = Hash>, mut completed: impl FnMut(Node)) {
        for leaf in leaves {
            let mut hash = leaf;
            let mut id = NodeId {
                level: 0,
                index: self.size,
            };
            completed(Node { id, hash });
            while id.index % 2 == 1 {
                let Some(left) = self.peaks.pop() else { break };
                hash = node_hash(&left, &hash);
                id = NodeId {
                    level: id.level + 1,
                    index: id.index / 2,
                };
                completed(Node { id, hash });
            }
            self.peaks.push(hash);
            self.size += 1;
        }
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.peaks).unwrap_or_else(empty_root)
    }
}

/// What a proof is made of: each element is one hash of the proof, folded from these complete nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofPlan(Vec<Vec<NodeId>>);

impl ProofPlan {
    /// Shows that the leaf at `position` is in the tree of `size` leaves (RFC 6962 section 2.1.1).
    pub fn inclusion(position: u64, size: u64) -> Result<Self, ProofError> {
        if position >= size {
            return Err(ProofError::Range);
        }
        let (mut start, mut end, mut parts) = (0, size, Vec::new());
        while end - start > 1 {
            let middle = start + split(end - start);
            if position < middle {
                parts.push(cover(middle, end));
                end = middle;
            } else {
                parts.push(cover(start, middle));
                start = middle;
            }
        }
        parts.reverse();
        Ok(Self(parts))
    }

    /// Shows that the tree of `size` leaves begins with the tree of `old_size` leaves (RFC 6962 section 2.1.2).
    pub fn consistency(old_size: u64, size: u64) -> Result<Self, ProofError> {
        if old_size > size {
            return Err(ProofError::Range);
        }
        if old_size == 0 || old_size == size {
            return Ok(Self(Vec::new()));
        }
        let (mut start, mut end, mut parts) = (0, size, Vec::new());
        while old_size != end {
            let middle = start + split(end - start);
            if old_size <= middle {
                parts.push(cover(middle, end));
                end = middle;
            } else {
                parts.push(cover(start, middle));
                start = middle;
            }
        }
        if start > 0 {
            parts.push(cover(start, end));
        }
        parts.reverse();
        Ok(Self(parts))
    }

    /// The nodes to look up, in the order in which [`ProofPlan::fill`] reads them.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().flatten().copied()
    }

    /// Makes the proof from the nodes' hashes; `None` when `find` misses one.
    pub fn fill(&self, mut find: impl FnMut(NodeId) -> Option<Hash>) -> Option<Vec<Hash>> {
        let mut proof = Vec::with_capacity(self.0.len());
        for part in &self.0 {
            let hashes: Vec<Hash> = part.iter().map(|id| find(*id)).collect::<Option<_>>()?;
            proof.push(fold(&hashes)?);
        }
        Some(proof)
    }
}

/// Checks that a leaf with hash `leaf` stands at `position` of the tree with `size` leaves and root `root`.
pub fn verify_inclusion(
    leaf: &Hash,
    position: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if position >= size {
        return Err(ProofError::Range);
    }
    let (mut at, mut last, mut hash) = (position, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at % 2 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            if at % 2 == 0 {
                let shift = at.trailing_zeros().min(63);
                at >>= shift;
                last >>= shift;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// Checks that the tree (`size`, `root`) begins with the tree (`old_size`, `old_root`).
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > size {
        return Err(ProofError::Range);
    }
    if old_size == size || old_size == 0 {
        let same = if old_size == 0 {
            *old_root == empty_root()
        } else {
            old_root == root
        };
        return match (proof.is_empty(), same) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let (first, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Length)?
    };
    let shift = (old_size - 1).trailing_ones();
    let (mut at, mut last) = ((old_size - 1) >> shift, (size - 1) >> shift);
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at % 2 == 1 || at == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            if at % 2 == 0 {
                let shift = at.trailing_zeros().min(63);
                at >>= shift;
                last >>= shift;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if old == *old_root && new == *root {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// The largest power of two smaller than `len`, which is at least 2.
const fn split(len: u64) -> u64 {
    1 << (u64::BITS - 1 - (len - 1).leading_zeros())
}

/// The complete subtrees that make up leaves `start..end`, left to right. `start` is a multiple of the largest of them.
fn cover(start: u64, end: u64) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut at = start;
    for level in (0..u8::try_from(u64::BITS).unwrap_or(64)).rev() {
        if (end - start) >> level & 1 == 1 {
            nodes.push(NodeId {
                level,
                index: at >> level,
            });
            at += 1 << level;
        }
    }
    nodes
}

/// Hash over complete subtrees given left to right, largest first.
fn fold(peaks: &[Hash]) -> Option<Hash> {
    let (last, rest) = peaks.split_last()?;
    Some(
        rest.iter()
            .rev()
            .fold(*last, |right, left| node_hash(left, &right)),
    )
}

#[cfg(test)]
mod tests;
