//! One integration crate: the AWS SDK is linked once.

mod boto3;
mod end_to_end;
mod identity;
mod input;
mod machine;
mod moto;
mod protocol;
mod support;
mod walls;
