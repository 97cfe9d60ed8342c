//! What is signed for whom.
