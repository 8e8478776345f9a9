//! The lane of https:// URLs: reqwest over rustls, set up when the first one is fetched.

use rustls::ClientConfig;
use tokio::sync::OnceCell;

use super::answer::Answer;
use super::client::Options;
use super::failure;
use super::request::Request;
use super::tls;
use crate::error::{Error, Kind, Phase};

/// Sends requests to https:// URLs.
#[derive(Debug, Default)]
pub(super) struct Secure {
    /// Made by the first request, so that nobody else pays for reading certificates.
    engine: OnceCell<reqwest::Client>,
}

impl Secure {
    /// Sends `request` and waits for the head of the response.
    pub(super) async fn send(&self, request: &Request, options: &Options) -> Result<Answer, Error> {
        let engine = self.engine.get_or_try_init(|| make(options.clone())).await?;
        let mut outgoing = reqwest::Request::new(request.method.clone(), (*request.url).clone());
        outgoing.headers_mut().clone_from(&request.headers);
        if let Some(body) = &request.body {
            *outgoing.body_mut() = Some(body.clone().into());
        }
        let answer = engine.execute(outgoing).await;
        let answer = answer.map_err(|error| failure::name(&error, Phase::Head, &request.url))?;
        Ok(Answer::Secure(answer))
    }
}

async fn make(options: Options) -> Result<reqwest::Client, Error> {
    let made = tokio::task::spawn_blocking(move || build(&options, tls::with_system_trust()?));
    made.await.map_err(|_| Error::new(Kind::Internal, "reading the root certificates failed"))?
}

/// Engine only: redirects, retries, referer and proxies are policy, and policy is offloop's own.
fn build(options: &Options, tls: ClientConfig) -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .http1_max_headers(256)
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(options.idle_timeout)
        .pool_max_idle_per_host(options.idle_per_host)
        .build()
        .map_err(|error| Error::new(Kind::Tls, format!("cannot build the HTTPS engine: {error}")))
}
