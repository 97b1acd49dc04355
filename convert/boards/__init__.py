"""What `busi-kd device bench --result` measured on people's boards, in one table: `busi-kd convert boards`."""
