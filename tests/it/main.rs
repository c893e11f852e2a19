//! The one integration-test crate: the AWS SDK is linked once, not once per file.

mod boto3;
mod end_to_end;
mod moto;
mod support;
mod walls;
