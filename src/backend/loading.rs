//! The SDK's configuration: from the standard places, with time-outs, retries and one HTTP client of our own.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_sagemaker::config::{AppName, IdentityCache, SharedHttpClient};
use aws_smithy_http_client::{
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_types::service_config::ServiceConfigKey;

use super::convert;

/// What AWS sees us as, in user agents and role sessions.
pub const APP_NAME: &str = "awf-aws";
/// Longest wait for credentials, below the time-out of one attempt so that the cause is still told.
pub const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// One HTTP client for all SDK clients: left alone, each builds its own, with its own trust store and connections.
fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector =
            aws_smithy_http_client::ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}

/// The SDK's configuration. Retries are set here because the SDK panics on an `AWS_MAX_ATTEMPTS` that it cannot read.
pub async fn load(region: Option<Region>) -> SdkConfig {
    let region = RegionProviderChain::first_try(region)
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region.region().await)
        .http_client(http_client())
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(2))
                .read_timeout(Duration::from_secs(5))
                .operation_attempt_timeout(Duration::from_secs(6))
                .operation_timeout(Duration::from_secs(15))
                .build(),
        )
        .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build());
    if let Ok(name) = AppName::new(APP_NAME) {
        loader = loader.app_name(name);
    }
    loader.load().await
}

/// A standard AWS setting as the SDK itself reads it: environment, then profile.
pub fn configured(config: &SdkConfig, env: &str, profile: &str) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("sagemaker").env(env).profile(profile).build().ok()?;
    convert::text(config.service_config()?.load_config(key))
}
