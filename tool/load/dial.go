package load

import (
	"io"
	"net"
	"os/exec"
	"time"
)

// dialCommand starts a command and makes a connection of its standard input and output.
func dialCommand(name string, args ...string) (net.Conn, error) {
	c := exec.Command(name, args...)
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return &commandConn{Reader: out, WriteCloser: in, command: c}, nil
}

// commandConn is a connection through a command. It knows no deadlines.
type commandConn struct {
	io.Reader
	io.WriteCloser
	command *exec.Cmd
}

func (c *commandConn) Close() error {
	c.WriteCloser.Close()
	c.command.Process.Kill()
	c.command.Wait()
	return nil
}

type commandAddr struct{}

func (commandAddr) Network() string { return "command" }
func (commandAddr) String() string  { return "docker system dial-stdio" }

func (*commandConn) LocalAddr() net.Addr              { return commandAddr{} }
func (*commandConn) RemoteAddr() net.Addr             { return commandAddr{} }
func (*commandConn) SetDeadline(time.Time) error      { return nil }
func (*commandConn) SetReadDeadline(time.Time) error  { return nil }
func (*commandConn) SetWriteDeadline(time.Time) error { return nil }
