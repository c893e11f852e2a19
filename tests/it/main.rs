//! One integration crate: the AWS SDK is linked once.

mod identity;
mod input;
mod machine;
mod protocol;
