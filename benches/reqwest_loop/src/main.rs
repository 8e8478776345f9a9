//! GETs one URL from a fixed number of tasks on one thread and prints `requests seconds`.
//!
//! usage: `reqwest-loop URL IN_FLIGHT REQUESTS`

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: reqwest-loop URL IN_FLIGHT REQUESTS");
    let (url, in_flight, requests) = (next()?, next()?.parse()?, next()?.parse()?);
    let client = client()?;
    run(&client, &url, in_flight, in_flight * 4).await?;
    let started = Instant::now();
    run(&client, &url, in_flight, requests).await?;
    report(requests, started.elapsed().as_secs_f64());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figure is this program's output")]
fn report(requests: usize, seconds: f64) {
    println!("{requests} {seconds}");
}

fn client() -> Result<reqwest::Client, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build()?)
}

async fn run(
    client: &reqwest::Client,
    url: &str,
    in_flight: usize,
    requests: usize,
) -> Result<(), Failure> {
    let left = Rc::new(Cell::new(requests));
    let tasks = tokio::task::LocalSet::new();
    let workers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (client, url, left) = (client.clone(), url.to_owned(), Rc::clone(&left));
            tasks.spawn_local(async move {
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    let body = client.get(&url).send().await?.error_for_status()?.bytes().await?;
                    std::hint::black_box(body);
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    tasks.await;
    for worker in workers {
        worker.await??;
    }
    Ok(())
}
