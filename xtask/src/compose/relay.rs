//! The road from a container network to a server that listens on this machine's loopback address only.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result};

/// Relays every connection to `address` on to `target`, until the process ends. Answers the address with its port.
pub fn start(address: &str, target: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((address, 0)).with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || relay(&client, target));
        }
    });
    Ok(bound)
}

/// An end on either side ends that direction; the other may still have something to say.
fn relay(client: &TcpStream, target: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || {
        let copied = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Write).and(copied.map(drop))
    });
    let (mut from, mut to) = (server, client.try_clone()?);
    let copied = io::copy(&mut from, &mut to);
    to.shutdown(Shutdown::Write)?;
    up.join()
        .map_err(|_| io::Error::other("a direction panicked"))??;
    copied.map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_is_sent_comes_out_on_the_other_side_and_back() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = server.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut connection, _) = server.accept().expect("a client");
            let mut said = String::new();
            connection.read_to_string(&mut said).expect("read");
            connection
                .write_all(said.to_uppercase().as_bytes())
                .expect("written");
        });
        let mut client = TcpStream::connect(start("127.0.0.1", target).expect("relays")).expect("connects");
        client.write_all(b"hello").expect("written");
        client.shutdown(Shutdown::Write).expect("half closed");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("read");
        assert_eq!(answer, "HELLO");
    }
}
