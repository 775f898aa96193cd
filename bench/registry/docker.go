package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"
)

// docker is a dockerd of our own: where it is spoken to, and where what is said is counted.
type docker struct {
	host, wire string // as DOCKER_HOST has it
	bytes      atomic.Int64
	stop       func()
}

// startDocker starts a dockerd with all that it keeps below dir.
func startDocker(dir string) (*docker, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("docker, whose daemon only root can start")
	}
	if err := os.Mkdir(dir, 0o711); err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("daemon.json"), []byte("{}"), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("dockerd", "--config-file", at("daemon.json"), "--data-root", at("docker"), "--exec-root", at("exec"), "--pidfile", at("docker.pid"),
		"--host", "unix://"+at("docker.sock"), "--bridge=none", "--iptables=false", "--ip6tables=false")
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("docker: %w (e2e/clients/setup.sh installs it)", err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	d := &docker{host: "unix://" + at("docker.sock"), wire: "unix://" + at("wire.sock")}
	d.stop = func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
		}
	}
	for range 600 {
		select {
		case <-ended:
			return nil, errors.New("docker: its daemon ended")
		case <-time.After(50 * time.Millisecond):
		}
		if exec.Command("docker", "--host", d.host, "version").Run() == nil {
			return d, d.count(at("wire.sock"), at("docker.sock"))
		}
	}
	d.stop()
	return nil, errors.New("docker: its daemon doesn't answer")
}

// count passes on what comes in at one socket to another one, and counts it, both ways.
func (d *docker) count(from, to string) error {
	l, err := net.Listen("unix", from)
	if err != nil {
		return err
	}
	l = counting{l, &d.bytes}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", to)
			if err != nil {
				in.Close()
				continue
			}
			go func() {
				io.Copy(out, in)
				out.(*net.UnixConn).CloseWrite()
			}()
			go func() {
				io.Copy(in, out)
				in.Close()
				out.Close()
			}()
		}
	}()
	return nil
}
